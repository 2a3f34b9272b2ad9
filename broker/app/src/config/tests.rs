//! Every message of the configuration, and the agreement of `config.toml` with the code.

use std::path::{Path, PathBuf};

use super::raw::RawConfig;
use super::reader::KnownKeys;
use super::{Anonymous, Config, LogFormat, Sources, read};

const DOCUMENTED: &str = include_str!("../../../../config.toml");

/// What a file of this text means, or the messages about it.
fn load(text: &str) -> Result<Config, Vec<String>> {
    load_all(text, &[], &[])
}

fn load_all(
    text: &str,
    environment: &[(&str, &str)],
    assignments: &[&str],
) -> Result<Config, Vec<String>> {
    let mut raw = RawConfig::default();
    let mut errors = raw.merge_toml(&"config.toml".into(), text);
    let variables = environment
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()));
    errors.extend(raw.merge_environment(variables));
    for assignment in assignments {
        errors.extend(raw.merge_assignment(assignment).err());
    }
    let (config, _, wrong) = read(&raw, Path::new(""));
    errors.extend(wrong);
    match errors.is_empty() {
        true => Ok(config),
        false => Err(errors.iter().map(ToString::to_string).collect()),
    }
}

fn known_keys() -> KnownKeys {
    read(&RawConfig::default(), Path::new("")).1
}

#[test]
fn nothing_set_is_the_default() {
    assert_eq!(load(""), Ok(Config::default()));
}

#[test]
fn the_documented_file_is_the_default() {
    assert_eq!(load(DOCUMENTED), Ok(Config::default()));
}

/// The lines of the documented file that set a key, in a comment or not, as `(section, key, line)`.
fn documented_keys() -> Vec<(String, String, String)> {
    let mut section = String::new();
    let mut keys = Vec::new();
    for line in DOCUMENTED.lines() {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            section = name.to_owned();
            continue;
        }
        let setting = line.strip_prefix("# ").unwrap_or(line);
        let Some((key, _)) = setting.split_once(" = ") else {
            continue;
        };
        if key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            keys.push((section.clone(), key.to_owned(), line.to_owned()));
        }
    }
    keys
}

#[test]
fn the_documented_file_has_each_key_once() {
    let mut documented: Vec<(String, String)> = documented_keys()
        .into_iter()
        .map(|(section, key, _)| (section, key))
        .collect();
    let mut known: Vec<(String, String)> = known_keys()
        .into_iter()
        .flat_map(|(section, keys)| keys.into_iter().map(move |key| (section, key)))
        .map(|(section, key)| (section.to_owned(), key.to_owned()))
        .collect();
    documented.sort();
    known.sort();
    assert_eq!(documented, known);
}

#[test]
fn the_documented_examples_are_valid() {
    let mut text = DOCUMENTED.to_owned();
    for (_, _, line) in documented_keys() {
        if let Some(example) = line.strip_prefix("# ") {
            text = text.replace(&line, example);
        }
    }
    assert_ne!(text, DOCUMENTED, "some keys have no default");
    let config = load(&text).expect("examples are valid");
    let tls = config.tls.expect("the examples set it");
    assert_eq!(tls.certificate, PathBuf::from("certs/dev/server.pem"));
    assert_eq!(tls.client_ca, Some(PathBuf::from("certs/dev/ca.pem")));
    assert_eq!(config.password_file, Some(PathBuf::from("passwords")));
}

#[test]
fn each_mistake_has_its_message() {
    let table: &[(&str, &[&str])] = &[
        // Unknown words.
        (
            "\n[limits]\nrecieve_maximum = 10",
            &[
                "config.toml:3: unknown key 'recieve_maximum' in [limits]; did you mean 'receive_maximum'?",
            ],
        ),
        (
            "[auth]\nusers = 'x'",
            &[
                "config.toml:2: unknown key 'users' in [auth]; its keys are password_file, anonymous",
            ],
        ),
        (
            "[mqtt]\nserver_keep_alive_seconds = 60",
            &[
                "config.toml:2: unknown key 'server_keep_alive_seconds' in [mqtt]; it belongs in [limits]",
            ],
        ),
        (
            "[limit]\nreceive_maximum = 10",
            &["config.toml:1: unknown section [limit]; did you mean [limits]?"],
        ),
        (
            "[bridge]",
            &[
                "config.toml:1: unknown section [bridge]; the sections are [admin], [auth], [buckets], [delayed], [kv], \
               [limits], [listeners], [log], [mqtt], [queue], [queues], [server], [storage], [tls]",
            ],
        ),
        (
            "[queues.jobs]\nvisibilty = \"3s\"",
            &[
                "config.toml:1: 'jobs' in [queues]: there is no 'visibilty'; did you mean 'visibility'?",
            ],
        ),
        (
            "[buckets.cfg]\nhistory = 100",
            &["config.toml:1: 'cfg' in [buckets]: 'history' takes a whole number from 1 to 64"],
        ),
        (
            "[kv]\nauto_creat = true",
            &["config.toml:2: unknown key 'auto_creat' in [kv]; did you mean 'auto_create'?"],
        ),
        (
            "[queues]\njobs = 1",
            &[
                "config.toml:2: 'jobs' in [queues] cannot be 1; use a table, [queues.jobs] with keys below it",
            ],
        ),
        (
            "[queues.\"a b\"]",
            &[
                "config.toml:1: 'a b' in [queues]: a name is made of A-Z a-z 0-9 _ . - and is more than dots",
            ],
        ),
        (
            "receive_maximum = 10",
            &[
                "config.toml:1: unknown key 'receive_maximum' outside a section; it belongs in [limits]",
            ],
        ),
        (
            "recieve_maximum = 10",
            &[
                "config.toml:1: unknown key 'recieve_maximum' outside a section; did you mean \
               'receive_maximum' in [limits]?",
            ],
        ),
        (
            "port = 1883",
            &["config.toml:1: unknown key 'port' outside a section; every key is in a section"],
        ),
        (
            "limits = 3",
            &[
                "config.toml:1: 'limits' is a section; write [limits] on a line and its keys below it",
            ],
        ),
        (
            "[[tls]]\ncertificate = 'a'",
            &["config.toml:1: 'tls' is a section; write [tls] on a line and its keys below it"],
        ),
        // Numbers.
        (
            "[limits]\nreceive_maximum = 70_000",
            &[
                "config.toml:2: 'receive_maximum' in [limits] cannot be 70_000; use a whole number \
               from 1 to 65535 (default 1024)",
            ],
        ),
        (
            "[limits]\nreceive_maximum = 0",
            &[
                "config.toml:2: 'receive_maximum' in [limits] cannot be 0; use a whole number from 1 \
               to 65535 (default 1024)",
            ],
        ),
        (
            "[limits]\nreceive_maximum = \"many\"",
            &[
                "config.toml:2: 'receive_maximum' in [limits] cannot be \"many\"; use a whole number \
               from 1 to 65535 (default 1024)",
            ],
        ),
        (
            "[limits]\nreceive_maximum = -1\nmaximum_inflight = 1.5\nmaximum_connections = 99999999999999999999",
            &[
                "config.toml:2: 'receive_maximum' in [limits] cannot be -1; use a whole number from \
                 1 to 65535 (default 1024)",
                "config.toml:3: 'maximum_inflight' in [limits] cannot be 1.5; use a whole number \
                 from 1 to 32767 (default 16384)",
                "config.toml:4: 'maximum_connections' in [limits] cannot be 99999999999999999999; \
                 use a whole number from 1 to 4294967295 (default 100000)",
            ],
        ),
        (
            "[limits]\nsession_queue_bytes = \"16 MB\"",
            &[
                "config.toml:2: 'session_queue_bytes' in [limits] cannot be \"16 MB\"; use a number of \
               bytes or a size in B, KiB, MiB, GiB or TiB from \"1 KiB\" to \"1 TiB\" \
               (default \"16 MiB\")",
            ],
        ),
        (
            "[mqtt]\nsys_interval_seconds = '2 d'",
            &[
                "config.toml:2: 'sys_interval_seconds' in [mqtt] cannot be '2 d'; use a number of \
               seconds or a duration in s, min, h or d from 0 to \"1 d\" (default 10)",
            ],
        ),
        (
            "[limits]\nbackpressure_milliseconds = true",
            &[
                "config.toml:2: 'backpressure_milliseconds' in [limits] cannot be true; use a number \
               of milliseconds or a duration in ms, s, min or h from 0 to \"1 min\" (default 100)",
            ],
        ),
        // Words.
        (
            "[log]\nlevel = \"verbose\"\nformat = 1",
            &[
                "config.toml:2: 'level' in [log] cannot be \"verbose\"; use \"off\", \"error\", \
                 \"warn\", \"info\", \"debug\" or \"trace\" (default \"info\")",
                "config.toml:3: 'format' in [log] cannot be 1; use \"text\" or \"json\" \
                 (default \"text\")",
            ],
        ),
        (
            "[auth]\nanonymous = \"true\"",
            &[
                "config.toml:2: 'anonymous' in [auth] cannot be \"true\"; use \"loopback\", true or \
               false (default \"loopback\")",
            ],
        ),
        (
            "[tls]\nrequire_client_certificate = 'yes'",
            &[
                "config.toml:2: 'require_client_certificate' in [tls] cannot be 'yes'; use true or \
               false (default false)",
            ],
        ),
        (
            "[server]\ndata_dir = ''",
            &[
                "config.toml:2: 'data_dir' in [server] cannot be ''; use a path, such as \
               \"directory/file\"",
            ],
        ),
        // Addresses.
        (
            "[admin]\nlisten = 8080",
            &[
                "config.toml:2: 'listen' in [admin] cannot be 8080; use an IP address and a port, such \
               as \"127.0.0.1:8080\", or \"\" for none",
            ],
        ),
        (
            "[listeners]\nlisten = \"tcp://127.0.0.1:1883\"",
            &[
                "config.toml:2: 'listen' in [listeners] cannot be \"tcp://127.0.0.1:1883\"; use a \
               list, such as [\"tcp://127.0.0.1:1883\"]",
            ],
        ),
        (
            "[listeners]\nlisten = [\n  1883,\n  \"http://127.0.0.1:80\",\n  \"localhost:1883\",\n  \
             \"tcp://127.0.0.1:1883/mqtt\",\n]",
            &[
                "config.toml:3: 'listen' in [listeners] cannot be 1883; use strings, such as \
                 \"tcp://127.0.0.1:1883\"",
                "config.toml:4: 'listen' in [listeners]: \"http://127.0.0.1:80\" begins with an \
                 unknown scheme; use tcp://, tls://, ws:// or wss://",
                "config.toml:5: 'listen' in [listeners]: \"localhost:1883\" has no IP address and \
                 port; write them as in \"tcp://127.0.0.1:1883\", and 0.0.0.0 or [::] for every \
                 interface",
                "config.toml:6: 'listen' in [listeners]: \"tcp://127.0.0.1:1883/mqtt\" has a path, \
                 which only ws:// and wss:// have; use \"tcp://127.0.0.1:1883\"",
            ],
        ),
        (
            "[listeners]\nlisten = []",
            &[
                "config.toml:2: 'listen' in [listeners] names no address; use at least one, such as \
               \"tcp://127.0.0.1:1883\"",
            ],
        ),
        (
            "[listeners]\nlisten = [\"127.0.0.1:1883\", \"127.0.0.1:0\", \"127.0.0.1:0\",\n \
             \"ws://127.0.0.1:1883\"]",
            &[
                "config.toml:3: listener \"ws://127.0.0.1:1883/mqtt\" has the address and port of \
               \"tcp://127.0.0.1:1883\"; use another port",
            ],
        ),
        (
            "[listeners]\nallowed_origins = [\"console.example\", \"https://a.example/b\"]",
            &[
                "config.toml:2: 'allowed_origins' in [listeners]: \"console.example\" is no origin of a \
                 web page; use a scheme, a host and no path, such as \"https://console.example\", \
                 or \"*\" for any",
                "config.toml:2: 'allowed_origins' in [listeners]: \"https://a.example/b\" is no origin of \
                 a web page; use a scheme, a host and no path, such as \"https://console.example\", \
                 or \"*\" for any",
            ],
        ),
        // What only several keys together can get wrong.
        (
            "[listeners]\nlisten = [\n\"tcp://127.0.0.1:1883\",\n\"tls://127.0.0.1:8883\",\n]",
            &[
                "config.toml:4: listener \"tls://127.0.0.1:8883\" needs a certificate; set \
               'certificate' and 'key' in [tls] (certs/make makes a pair for development)",
            ],
        ),
        (
            "[tls]\ncertificate = 'a'",
            &["config.toml:2: 'certificate' in [tls] needs 'key' beside it"],
        ),
        (
            "[tls]\nkey = 'a'",
            &["config.toml:2: 'key' in [tls] needs 'certificate' beside it"],
        ),
        (
            "[tls]\nclient_ca = 'a'",
            &["config.toml:2: 'client_ca' in [tls] needs 'certificate' beside it"],
        ),
        (
            "[tls]\ncertificate = 'a'\nkey = 'b'\nrequire_client_certificate = true",
            &["config.toml:4: 'require_client_certificate' in [tls] needs 'client_ca' beside it"],
        ),
        (
            "[listeners]\nlisten = [\"tcp://0.0.0.0:1883\"]",
            &[
                "config.toml:2: listener \"tcp://0.0.0.0:1883\" would let nobody in; set \
               'password_file' in [auth], or 'anonymous' to true if it is meant for everybody who \
               can reach it",
            ],
        ),
        (
            "[listeners]\nlisten = [\"tcp://127.0.0.1:1883\"]\n[auth]\nanonymous = false",
            &[
                "config.toml:2: listener \"tcp://127.0.0.1:1883\" would let nobody in; set \
               'password_file' in [auth], or 'anonymous' to true if it is meant for everybody who \
               can reach it",
            ],
        ),
        // What is no TOML at all; every place, and nothing that would only follow from it.
        (
            "[log]\nlevel = info\n[listeners]\nlisten = [\"tls://127.0.0.1:8883\"",
            &[
                "config.toml:2: not valid TOML: info is no value; a string needs quotes: \"info\"",
                "config.toml:4: not valid TOML: unclosed array, expected `]`",
            ],
        ),
        (
            "[log]\nlevel = 'info'\nlevel = 'warn'",
            &["config.toml:3: not valid TOML: duplicate key"],
        ),
    ];
    for (text, messages) in table {
        let errors = load(text).expect_err(text);
        assert_eq!(errors, *messages, "{text}");
    }
}

#[test]
fn the_environment_and_the_command_line_are_named_in_messages() {
    let errors = load_all(
        "[limits]\nreceive_maximum = 1",
        &[
            ("NEXUM__LIMITS__RECEIVE_MAXIMUM", "70000"),
            ("NEXUM__LIMITS__RECIEVE_MAXIMUM", "1"),
            ("NEXUM__LOGS__LEVEL", "info"),
            ("NEXUM__LOG", "info"),
            ("NEXUM_LOG", "not ours"),
            ("NEXUM__LOG__LEVEL", ""),
        ],
        &[
            "limits.maximum_inflight=x",
            "log.levle=info",
            "log=info",
            "log.level",
        ],
    );
    assert_eq!(
        errors.expect_err("everything is wrong"),
        [
            "NEXUM__LOG: names no key; use the form NEXUM__SECTION__KEY, such as NEXUM__LOG__LEVEL",
            "--set log=info: sets no key; use the form --set section.key=value, such as --set \
             log.level=debug",
            "--set log.level: sets no key; use the form --set section.key=value, such as --set \
             log.level=debug",
            "NEXUM__LIMITS__RECEIVE_MAXIMUM: 'receive_maximum' in [limits] cannot be 70000; use a \
             whole number from 1 to 65535 (default 1024)",
            "NEXUM__LIMITS__RECIEVE_MAXIMUM: unknown key 'recieve_maximum' in [limits]; did you \
             mean 'receive_maximum'?",
            "NEXUM__LOGS__LEVEL: unknown section [logs]; did you mean [log]?",
            "NEXUM__LOG__LEVEL: 'level' in [log] cannot be empty; use \"off\", \"error\", \"warn\", \
             \"info\", \"debug\" or \"trace\" (default \"info\")",
            "--set limits.maximum_inflight=x: 'maximum_inflight' in [limits] cannot be x; use a \
             whole number from 1 to 32767 (default 16384)",
            "--set log.levle=info: unknown key 'levle' in [log]; did you mean 'level'?",
        ]
    );
}

#[test]
fn the_stronger_source_wins() {
    let config = load_all(
        "[limits]\nreceive_maximum = 1\nmaximum_inflight = 1\ntopic_alias_maximum = 1",
        &[
            ("NEXUM__LIMITS__RECEIVE_MAXIMUM", "2"),
            ("NEXUM__LIMITS__MAXIMUM_INFLIGHT", "2"),
            ("NEXUM__LISTENERS__LISTEN", "127.0.0.1:1, ws://127.0.0.1:2"),
            ("NEXUM__AUTH__ANONYMOUS", "true"),
            ("NEXUM__ADMIN__LISTEN", ""),
        ],
        &[
            "limits.receive_maximum=3",
            "log.format=json",
            "limits.session_queue_bytes=2 MiB",
        ],
    )
    .expect("all of it is valid");
    assert_eq!(config.limits.topic_alias_maximum, 1);
    assert_eq!(config.limits.maximum_inflight.get(), 2);
    assert_eq!(config.limits.receive_maximum.get(), 3);
    assert_eq!(config.limits.session_queue_bytes, 2 << 20);
    assert_eq!(config.log_format, LogFormat::Json);
    assert_eq!(config.anonymous, Anonymous::Everybody);
    assert_eq!(config.admin, None);
    let listeners: Vec<String> = config.listeners.iter().map(ToString::to_string).collect();
    assert_eq!(listeners, ["tcp://127.0.0.1:1", "ws://127.0.0.1:2/mqtt"]);
}

#[test]
fn paths_start_where_they_were_written() {
    let mut raw = RawConfig::default();
    let text = "[tls]\ncertificate = 'server.pem'\nkey = '/keys/server.key'";
    assert_eq!(raw.merge_toml(&"/etc/nexum/config.toml".into(), text), []);
    raw.merge_assignment("auth.password_file=passwords")
        .expect("it is well formed");
    let (config, _, errors) = read(&raw, Path::new("/etc/nexum"));
    assert_eq!(errors, []);
    let tls = config.tls.expect("it is set");
    assert_eq!(tls.certificate, PathBuf::from("/etc/nexum/server.pem"));
    assert_eq!(tls.key, PathBuf::from("/keys/server.key"));
    assert_eq!(config.data_dir, PathBuf::from("/etc/nexum/data"));
    assert_eq!(config.password_file, Some(PathBuf::from("passwords")));
}

#[test]
fn options_replace_what_they_name() {
    let sources = Sources {
        file: Some("/nowhere/config.toml".into()),
        ..Sources::default()
    };
    let errors = Config::load(&sources).expect_err("there is no such file");
    assert_eq!(
        errors[0].to_string(),
        "cannot read the configuration file /nowhere/config.toml: No such file or directory (os \
         error 2)"
    );

    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config.toml");
    let sources = Sources {
        file: Some(file.into()),
        environment: vec![("NEXUM__LISTENERS__LISTEN".into(), "127.0.0.1:9".into())],
        assignments: vec!["server.data_dir=elsewhere".into()],
        listen: vec!["127.0.0.1:0".into(), "ws://127.0.0.1:0".into()],
        data_dir: Some("here".into()),
    };
    let config = Config::load(&sources).expect("it is valid");
    let listeners: Vec<String> = config.listeners.iter().map(ToString::to_string).collect();
    assert_eq!(listeners, ["tcp://127.0.0.1:0", "ws://127.0.0.1:0/mqtt"]);
    assert_eq!(config.data_dir, PathBuf::from("here"));

    let sources = Sources {
        listen: vec![
            "127.0.0.1:0".into(),
            "tls://127.0.0.1:0".into(),
            "nonsense://".into(),
        ],
        ..sources
    };
    let errors = Config::load(&sources).expect_err("one is nonsense");
    assert_eq!(
        errors[0].to_string(),
        "--listen nonsense://: 'listen' in [listeners]: \"nonsense://\" begins with an unknown \
         scheme; use tcp://, tls://, ws:// or wss://"
    );
}
