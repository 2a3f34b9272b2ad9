//! What the command line asks for.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};

use crate::config::Sources;

/// The answer to `--help`.
pub(crate) const HELP: &str = "\
Nexum, an MQTT 3.1.1 and 5 broker.

Usage: nexum [OPTIONS]
       nexum passwd FILE USER
       nexum check-data DIR

Options:
  --config FILE             Read this configuration; without it ./config.toml if there is one
  --data-dir DIR            Keep everything durable here (server.data_dir)
  --listen ADDRESS          Listen here in place of what is configured; may be repeated
                            (tcp://127.0.0.1:1883, tls://…, ws://…/mqtt, wss://…/mqtt)
  --set SECTION.KEY=VALUE   Set any key of the configuration; may be repeated
  --check-config            Say whether the configuration is valid, and end
  --help                    Print this text
  --version                 Print the version

Environment:
  NEXUM__SECTION__KEY       Sets the key too, as in NEXUM__LOG__LEVEL=debug. The command line is
                            stronger than the environment, the environment than the file.

Commands:
  passwd FILE USER          Add the user to a password file, or change the password there. The
                            password is asked for, or read from a pipe.

Ends with 0 when told to stop, 1 when it cannot do its work, 2 when it is told nonsense.
";

/// What to do.
#[derive(Debug)]
pub(crate) enum Command {
    Run(Sources),
    CheckConfig(Sources),
    SetPassword { file: PathBuf, user: String },
    CheckData { directory: PathBuf },
    Help,
    Version,
}

impl Command {
    /// Reads the arguments after the program's name.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn parse(
        arguments: impl IntoIterator<Item = OsString>,
        environment: Vec<(OsString, OsString)>,
    ) -> Result<Command, lexopt::Error> {
        let mut parser = Parser::from_args(arguments);
        let mut sources = Sources {
            environment,
            ..Sources::default()
        };
        let mut check = false;
        while let Some(argument) = parser.next()? {
            match argument {
                Arg::Long("config") => sources.file = Some(parser.value()?.into()),
                Arg::Long("data-dir") => sources.data_dir = Some(parser.value()?.string()?),
                Arg::Long("listen") => sources.listen.push(parser.value()?.string()?),
                Arg::Long("set") => sources.assignments.push(parser.value()?.string()?),
                Arg::Long("check-config") => check = true,
                Arg::Long("help") | Arg::Short('h') => return Ok(Command::Help),
                Arg::Long("version") | Arg::Short('V') => return Ok(Command::Version),
                Arg::Value(command) if command == "passwd" => return parse_passwd(parser),
                Arg::Value(command) if command == "check-data" => {
                    return parse_check_data(parser);
                }
                Arg::Long(_) | Arg::Short(_) | Arg::Value(_) => return Err(argument.unexpected()),
            }
        }
        Ok(if check {
            Command::CheckConfig(sources)
        } else {
            Command::Run(sources)
        })
    }
}

fn parse_passwd(mut parser: Parser) -> Result<Command, lexopt::Error> {
    let mut file = None;
    let mut user = None;
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("help") | Arg::Short('h') => return Ok(Command::Help),
            Arg::Value(value) if file.is_none() => file = Some(PathBuf::from(value)),
            Arg::Value(value) if user.is_none() => user = Some(value.string()?),
            Arg::Long(_) | Arg::Short(_) | Arg::Value(_) => return Err(argument.unexpected()),
        }
    }
    match (file, user) {
        (Some(file), Some(user)) => Ok(Command::SetPassword { file, user }),
        (Some(_), None) => Err("passwd needs USER after the file".into()),
        (None, _) => Err("passwd needs FILE and USER".into()),
    }
}

fn parse_check_data(mut parser: Parser) -> Result<Command, lexopt::Error> {
    let mut directory = None;
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("help") | Arg::Short('h') => return Ok(Command::Help),
            Arg::Value(value) if directory.is_none() => directory = Some(PathBuf::from(value)),
            Arg::Long(_) | Arg::Short(_) | Arg::Value(_) => return Err(argument.unexpected()),
        }
    }
    match directory {
        Some(directory) => Ok(Command::CheckData { directory }),
        None => Err("check-data needs DIR, the data directory".into()),
    }
}
