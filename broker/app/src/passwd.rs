//! `nexum passwd`: adds a user to a password file, or changes the password there.
//!
//! A line of the file is `user:hash`, the hash a PHC string of argon2id. A user's name may have a
//! colon, a hash has none. Lines it does not change
//! stay as they are, and the file changes at once: a broker that reloads it reads the old one or
//! the new one.

use std::fmt;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use argon2::{Argon2, PasswordHasher};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

/// Why the password was not set.
#[derive(Debug)]
pub(crate) enum PasswdError {
    /// The user's name cannot stand in the file.
    BadUserName,
    /// Nobody should be let in without one.
    EmptyPassword,
    /// The two passwords that were typed differ.
    Mistyped,
    /// The password could not be read.
    Input(io::Error),
    /// The hash could not be made.
    Hash(argon2::password_hash::Error),
    /// The password file could not be read or replaced.
    File(io::Error),
}

impl fmt::Display for PasswdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PasswdError::BadUserName => {
                f.write_str("the user's name is empty, begins with #, or has a control character")
            }
            PasswdError::EmptyPassword => f.write_str("the password is empty"),
            PasswdError::Mistyped => f.write_str("the passwords differ"),
            PasswdError::Input(error) => write!(f, "cannot read the password: {error}"),
            PasswdError::Hash(error) => write!(f, "cannot hash the password: {error}"),
            PasswdError::File(error) => write!(f, "cannot change the password file: {error}"),
        }
    }
}

impl std::error::Error for PasswdError {}

/// Sets a user's password to what is typed, or to the line a pipe brings.
///
/// # Errors
/// If the name or password will not do, or the file cannot be replaced.
pub(crate) fn set_password(file: &Path, user: &str) -> Result<(), PasswdError> {
    if user.is_empty() || user.starts_with('#') || user.contains(char::is_control) {
        return Err(PasswdError::BadUserName);
    }
    let password = read_password()?;
    if password.is_empty() {
        return Err(PasswdError::EmptyPassword);
    }
    // The library's defaults: argon2id, 19 MiB, two passes, one lane; the salt is random.
    let hash = Argon2::default()
        .hash_password(password.as_bytes())
        .map_err(PasswdError::Hash)?;
    replace_entry(file, user, &hash.to_string()).map_err(PasswdError::File)
}

fn read_password() -> Result<String, PasswdError> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return read_line().map_err(PasswdError::Input);
    }
    let before = tcgetattr(&stdin).map_err(|error| PasswdError::Input(error.into()))?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    let set = |mode| tcsetattr(&stdin, OptionalActions::Flush, mode).map_err(io::Error::from);
    set(&silent).map_err(PasswdError::Input)?;
    let typed = ask("Password: ").and_then(|password| Ok((password, ask("Again: ")?)));
    // The terminal gets its echo back whatever came of it.
    let restored = set(&before);
    let (password, again) = typed.map_err(PasswdError::Input)?;
    restored.map_err(PasswdError::Input)?;
    match password == again {
        true => Ok(password),
        false => Err(PasswdError::Mistyped),
    }
}

fn ask(question: &str) -> io::Result<String> {
    eprint!("{question}");
    let answer = read_line();
    // The line's end was not echoed either.
    eprintln!();
    answer
}

fn read_line() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Writes the file anew beside the old one, then puts it in its place.
fn replace_entry(file: &Path, user: &str, hash: &str) -> io::Result<()> {
    let (text, permissions) = match std::fs::read_to_string(file) {
        Ok(text) => (text, std::fs::metadata(file)?.permissions()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            (String::new(), Permissions::from_mode(0o600))
        }
        Err(error) => return Err(error),
    };
    let mut name = file
        .file_name()
        .ok_or(io::ErrorKind::IsADirectory)?
        .to_owned();
    name.push(".new");
    let new = file.with_file_name(name);
    let mut writer = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    writer.set_permissions(permissions)?;
    writer.write_all(with_entry(&text, user, hash).as_bytes())?;
    writer.sync_all()?;
    std::fs::rename(&new, file)?;
    // The change of name is kept only once the directory is.
    let directory = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

/// The file's text with the user's line replaced, or added at its end.
fn with_entry(text: &str, user: &str, hash: &str) -> String {
    let entry = format!("{user}:{hash}");
    let is_entry = |line: &str| line.rsplit_once(':').is_some_and(|(name, _)| name == user);
    let mut found = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if !is_entry(line) {
            lines.push(line);
        } else if !found {
            found = true;
            lines.push(&entry);
        }
    }
    if !found {
        lines.push(&entry);
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::with_entry;

    #[test]
    fn an_entry_is_replaced_or_added_and_nothing_else_changes() {
        for (before, after) in [
            ("", "ann:new\n"),
            ("# people\nbob:b\n", "# people\nbob:b\nann:new\n"),
            ("bob:b", "bob:b\nann:new\n"),
            ("bob:b\nann:old\ncyd:c\n", "bob:b\nann:new\ncyd:c\n"),
            ("a:ann:x\n", "a:ann:x\nann:new\n"),
            ("ann:old\nannabel:a\nann:older\n", "ann:new\nannabel:a\n"),
        ] {
            assert_eq!(with_entry(before, "ann", "new"), after);
        }
    }
}
