//! The broker's program: reads the configuration, puts the parts together, and ends them.

#![forbid(unsafe_code)]

mod command_line;
mod config;
mod passwd;

use std::io::Write;
use std::process::ExitCode;

use crate::command_line::{Command, HELP};
use crate::config::{Config, ConfigError};

/// The exit code for a command line or a configuration that makes no sense.
const NONSENSE: u8 = 2;

fn main() -> ExitCode {
    let command = Command::parse(std::env::args_os().skip(1), std::env::vars_os().collect());
    match command {
        Ok(Command::Help) => print(HELP),
        Ok(Command::Version) => print(concat!("nexum ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Command::CheckConfig(sources)) => match Config::load(&sources) {
            Ok(_) => print("configuration is valid\n"),
            Err(errors) => refuse(&errors),
        },
        Ok(Command::Run(sources)) => match Config::load(&sources) {
            Ok(_) => print("would run\n"),
            Err(errors) => refuse(&errors),
        },
        Ok(Command::SetPassword { file, user }) => match passwd::set_password(&file, &user) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("nexum: {error}");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            eprintln!("nexum: {error}; nexum --help lists what there is");
            ExitCode::from(NONSENSE)
        }
    }
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever was to read it is gone.
        Err(_) => ExitCode::FAILURE,
    }
}

fn refuse(errors: &[ConfigError]) -> ExitCode {
    for error in errors {
        eprintln!("{error}");
    }
    ExitCode::from(NONSENSE)
}
