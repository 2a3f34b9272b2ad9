//! What `tests/install-tools` and `certs/make` provide.

use std::path::{Path, PathBuf};
use std::process::Command;

const ADVICE: &str = "run tests/install-tools";

/// How to start the scripts.
pub(crate) struct Tools {
    paho: Script,
    mqtt_js: Script,
}

/// A program and what it is told before anything else.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) program: PathBuf,
    pub(crate) file: PathBuf,
    /// Where Node finds its modules.
    pub(crate) modules: Option<PathBuf>,
}

impl Tools {
    /// # Panics
    /// If one is missing, with what to do about it.
    pub(crate) fn find() -> Tools {
        for (program, version) in [("mosquitto_pub", "--version"), ("openssl", "version")] {
            let answer = Command::new(program).arg(version).output();
            assert!(answer.is_ok(), "{program} is missing: {ADVICE}");
        }
        let scripts = repository().join("tests/interop");
        let tools = test_tools();
        let python = tools.join("venv/bin/python3");
        assert!(python.exists(), "{} is missing: {ADVICE}", python.display());
        let modules = tools.join("node/node_modules");
        assert!(
            modules.join("mqtt").exists(),
            "MQTT.js is missing in {}: {ADVICE}",
            modules.display()
        );
        Tools {
            paho: Script {
                program: python,
                file: scripts.join("paho_client.py"),
                modules: None,
            },
            mqtt_js: Script {
                program: PathBuf::from("node"),
                file: scripts.join("mqtt_js_client.js"),
                modules: Some(modules),
            },
        }
    }

    pub(crate) fn paho(&self) -> &Script {
        &self.paho
    }

    pub(crate) fn mqtt_js(&self) -> &Script {
        &self.mqtt_js
    }
}

/// The certificates for development, made now if they are not there.
pub(crate) struct Certificates {
    pub(crate) authority: PathBuf,
    pub(crate) server: PathBuf,
    pub(crate) server_key: PathBuf,
    pub(crate) client: PathBuf,
    pub(crate) client_key: PathBuf,
}

impl Certificates {
    /// # Panics
    /// If `certs/make` fails, with what it said.
    pub(crate) fn make() -> Certificates {
        let script = repository().join("certs/make");
        let made = Command::new(&script)
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", script.display()));
        assert!(
            made.status.success(),
            "certs/make: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let directory = repository().join("certs/dev");
        Certificates {
            authority: directory.join("ca.pem"),
            server: directory.join("server.pem"),
            server_key: directory.join("server.key"),
            client: directory.join("client.pem"),
            client_key: directory.join("client.key"),
        }
    }
}

fn repository() -> PathBuf {
    // The crate that declares this test is broker/app.
    let crate_directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_directory
        .ancestors()
        .find(|directory| directory.join("tests/interop").is_dir())
        .unwrap_or_else(|| panic!("no repository around {}", crate_directory.display()))
        .to_owned()
}

/// Beside the build products, wherever Cargo puts them.
fn test_tools() -> PathBuf {
    let binary = Path::new(env!("CARGO_BIN_EXE_nexum"));
    let target = binary
        .ancestors()
        .map(|directory| directory.join("test-tools"))
        .find(|directory| directory.is_dir());
    target.unwrap_or_else(|| {
        panic!(
            "no test-tools directory beside {}: {ADVICE}, with the same CARGO_TARGET_DIR",
            binary.display()
        )
    })
}
