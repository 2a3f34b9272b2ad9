//! User names and argon2id hashes from a file.
//!
//! ```text
//! # a comment
//! alice:$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$…
//! ```
//!
//! A hash is verified with its own parameters. A user that is not in the file costs as much as
//! a wrong password, so that the time of an answer does not tell which names exist.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use arc_swap::ArcSwap;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier};
use nexum_core::{AuthenticationOutcome, Credentials};

use crate::authenticate::Authenticator;

/// Largest memory a line may ask for, in KiB: a typing mistake must not take the machine down.
const MAXIMUM_MEMORY_KIB: u32 = 1024 * 1024;

/// An [`Authenticator`] that knows the users of a file.
#[derive(Debug)]
pub struct PasswordFile {
    path: PathBuf,
    users: ArcSwap<Users>,
}

struct Users {
    hashes: HashMap<String, PasswordHash>,
    /// Verified when the user is unknown; no password fits.
    decoy: PasswordHash,
}

impl fmt::Debug for Users {
    /// Leaves the hashes out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users")
            .field("count", &self.hashes.len())
            .finish_non_exhaustive()
    }
}

/// Why a password file could not be used.
#[derive(Debug)]
pub enum PasswordFileError {
    /// It could not be read.
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A line is wrong.
    Line {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
}

impl fmt::Display for PasswordFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PasswordFileError::Read { path, error } => {
                write!(
                    f,
                    "{}: cannot read the password file: {error}",
                    path.display()
                )
            }
            PasswordFileError::Line { path, line, what } => {
                write!(f, "{}:{line}: {what}", path.display())
            }
        }
    }
}

impl std::error::Error for PasswordFileError {}

impl PasswordFile {
    /// Reads the file.
    ///
    /// # Errors
    /// If it cannot be read or a line is wrong.
    pub fn open(path: impl Into<PathBuf>) -> Result<PasswordFile, PasswordFileError> {
        let path = path.into();
        let users = ArcSwap::from_pointee(read(&path)?);
        Ok(PasswordFile { path, users })
    }

    /// How many users there are.
    #[must_use]
    pub fn users(&self) -> usize {
        self.users.load().hashes.len()
    }
}

impl Authenticator for PasswordFile {
    fn authenticate(&self, credentials: &Credentials) -> AuthenticationOutcome {
        let users = self.users.load_full();
        let hash = credentials
            .user_name
            .as_ref()
            .and_then(|name| users.hashes.get(name));
        let password = credentials.password.as_deref().unwrap_or_default();
        // With the parameters of the hash, not of the verifier.
        let verified = Argon2::default()
            .verify_password(password, hash.unwrap_or(&users.decoy))
            .is_ok();
        if verified && hash.is_some() {
            AuthenticationOutcome::Accepted
        } else {
            AuthenticationOutcome::Refused
        }
    }

    fn reload(&self) -> Result<(), String> {
        let users = read(&self.path).map_err(|error| error.to_string())?;
        tracing::info!("{}: {} users", self.path.display(), users.hashes.len());
        self.users.store(users.into());
        Ok(())
    }
}

fn read(path: &Path) -> Result<Users, PasswordFileError> {
    let text = std::fs::read_to_string(path).map_err(|error| PasswordFileError::Read {
        path: path.to_owned(),
        error,
    })?;
    let mut hashes = HashMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_end();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |what: String| PasswordFileError::Line {
            path: path.to_owned(),
            line: index + 1,
            what,
        };
        let (user, hash) = parse_line(line).map_err(wrong)?;
        if hashes.insert(user.to_owned(), hash).is_some() {
            return Err(wrong(format!("the user {user:?} is there twice")));
        }
    }
    // As costly as the most users' hashes are; in a file from one tool they are all alike.
    let params = hashes
        .values()
        .filter_map(|hash| Params::try_from(hash).ok())
        .max_by_key(|params| u64::from(params.m_cost()) * u64::from(params.t_cost()))
        .unwrap_or_default();
    let decoy = Argon2::from(params)
        .hash_password_with_salt(b"", b"no user has this")
        .expect("parameters that were checked, and a salt of sixteen bytes");
    Ok(Users { hashes, decoy })
}

fn parse_line(line: &str) -> Result<(&str, PasswordHash), String> {
    // A hash has no colon, a user name may.
    let (user, hash) = line
        .rsplit_once(':')
        .ok_or_else(|| "expected user:$argon2id$..., found no colon".to_owned())?;
    if user.is_empty() {
        return Err("the user name is empty".to_owned());
    }
    let hash = PasswordHash::new(hash).map_err(|error| format!("not a password hash: {error}"))?;
    if Algorithm::try_from(hash.algorithm.as_str()) != Ok(Algorithm::Argon2id) {
        return Err(format!(
            "the hash is {}, only argon2id is accepted",
            hash.algorithm
        ));
    }
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err("the hash is incomplete".to_owned());
    }
    let params =
        Params::try_from(&hash).map_err(|error| format!("wrong argon2id parameters: {error}"))?;
    if params.m_cost() > MAXIMUM_MEMORY_KIB {
        return Err(format!(
            "m={} KiB is more than {MAXIMUM_MEMORY_KIB}",
            params.m_cost()
        ));
    }
    Ok((user, hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cheap parameters: these tests are about the file.
    fn hash(password: &str) -> String {
        let params = Params::new(8, 1, 1, None).expect("the smallest parameters");
        Argon2::from(params)
            .hash_password_with_salt(password.as_bytes(), b"saltsalt")
            .expect("a salt of eight bytes")
            .to_string()
    }

    struct File(PathBuf);

    impl File {
        fn new(name: &str, text: &str) -> File {
            let name = format!("nexum-password-file-{}-{name}", std::process::id());
            let file = File(std::env::temp_dir().join(name));
            file.write(text);
            file
        }

        fn write(&self, text: &str) {
            std::fs::write(&self.0, text).expect("the temporary directory can be written");
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn outcome(file: &PasswordFile, user: Option<&str>, password: &str) -> AuthenticationOutcome {
        file.authenticate(&Credentials {
            user_name: user.map(str::to_owned),
            password: Some(password.as_bytes().to_vec()),
            client_id: String::new(),
            certificate: None,
            address: None,
        })
    }

    #[test]
    fn users_of_the_file_get_in_with_their_passwords() {
        use AuthenticationOutcome::{Accepted, Refused};
        let text = format!(
            "# users\n\nalice:{}\nbob:with:colons:{}\r\n",
            hash("wonder land"),
            hash("")
        );
        let file = File::new("users", &text);
        let users = PasswordFile::open(&file.0).expect("a good file");
        assert_eq!(users.users(), 2);
        for (user, password, expected) in [
            (Some("alice"), "wonder land", Accepted),
            (Some("alice"), "wonderland", Refused),
            (Some("Alice"), "wonder land", Refused),
            (Some("bob:with:colons"), "", Accepted),
            (Some("bob"), "", Refused),
            (Some("mallory"), "", Refused),
            (None, "", Refused),
        ] {
            assert_eq!(outcome(&users, user, password), expected, "{user:?}");
        }
    }

    #[test]
    fn a_wrong_line_is_named() {
        let good = hash("x");
        let argon2i = good.replace("argon2id", "argon2i");
        let huge = good.replace("m=8", "m=4194304");
        for (text, message) in [
            ("alice\n".to_owned(), ":1: expected user:$argon2id$"),
            (
                format!("a:{good}\n\n:{good}\n"),
                ":3: the user name is empty",
            ),
            (
                format!("a:{good}\na:{good}\n"),
                ":2: the user \"a\" is there twice",
            ),
            ("a:secret\n".to_owned(), ":1: not a password hash"),
            (
                format!("a:{argon2i}\n"),
                ":1: the hash is argon2i, only argon2id",
            ),
            (
                "a:$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ\n".to_owned(),
                ":1: the hash is incomplete",
            ),
            (format!("a:{huge}\n"), ":1: m=4194304 KiB is more than"),
        ] {
            let file = File::new("wrong", &text);
            let error = PasswordFile::open(&file.0).expect_err(&text).to_string();
            assert!(error.contains(message), "{error}");
            assert!(error.contains(&*file.0.to_string_lossy()), "{error}");
        }
        let error = PasswordFile::open("/nowhere/users")
            .expect_err("no such file")
            .to_string();
        assert!(
            error.starts_with("/nowhere/users: cannot read the password file"),
            "{error}"
        );
    }

    #[test]
    fn a_reload_takes_the_new_users_or_none() {
        use AuthenticationOutcome::{Accepted, Refused};
        let file = File::new("reload", &format!("old:{}\n", hash("1")));
        let users = PasswordFile::open(&file.0).expect("a good file");
        file.write(&format!("new:{}\n", hash("2")));
        assert_eq!(outcome(&users, Some("new"), "2"), Refused);
        users.reload().expect("a good file");
        assert_eq!(outcome(&users, Some("new"), "2"), Accepted);
        assert_eq!(outcome(&users, Some("old"), "1"), Refused);
        file.write("rubbish\n");
        users.reload().expect_err("a wrong file");
        assert_eq!(outcome(&users, Some("new"), "2"), Accepted);
    }

    #[test]
    fn an_unknown_user_costs_what_the_dearest_known_one_does() {
        let dear = Params::new(64, 3, 1, None).expect("small parameters");
        let dear_hash = Argon2::from(dear)
            .hash_password_with_salt(b"x", b"saltsalt")
            .expect("a salt of eight bytes");
        let file = File::new("decoy", &format!("a:{}\nb:{dear_hash}\n", hash("x")));
        let users = read(&file.0).expect("a good file");
        assert_eq!(users.decoy.params, dear_hash.params);
    }
}
