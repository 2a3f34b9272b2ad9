//! Clients of other languages: a script that tells all the stories and reports them line by line,
//! `ok FEATURE` or `FAIL FEATURE reason`.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::broker::Place;
use crate::client::{Failure, PATIENCE, Version};
use crate::scenario::{Feature, Outcome};
use crate::tools::Script;

pub(crate) fn run(
    script: &Script,
    place: &Place,
    version: Version,
    transport: &str,
) -> Vec<(Feature, Outcome)> {
    let mut command = Command::new(&script.program);
    command
        .arg(&script.file)
        .arg(assignment(place, version, transport))
        .stdin(Stdio::null());
    if let Some(modules) = &script.modules {
        command.env("NODE_PATH", modules);
    }
    // Each story ends itself when its patience is over, so the script ends, too.
    let (reports, said) = match command.output() {
        Ok(output) => {
            let lines = String::from_utf8_lossy(&output.stdout).into_owned();
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            (lines, format!("{} {errors}", output.status))
        }
        Err(error) => (String::new(), error.to_string()),
    };

    let mut outcomes = HashMap::new();
    for line in reports.lines() {
        let mut words = line.splitn(3, ' ');
        let (verdict, feature) = (words.next(), words.next().unwrap_or_default());
        let reason = words.next().unwrap_or_default();
        match verdict {
            Some("ok") => outcomes.insert(feature, Ok(())),
            Some("FAIL") => outcomes.insert(feature, Err(Failure(reason.to_owned()))),
            Some(_) | None => None,
        };
    }
    Feature::ALL
        .into_iter()
        .map(|feature| {
            let outcome = feature.exists_in(version).then(|| {
                let silence = || Err(Failure(format!("the script does not mention it: {said}")));
                outcomes.remove(feature.name()).unwrap_or_else(silence)
            });
            (feature, outcome)
        })
        .collect()
}

/// What the script is to do, in JSON.
fn assignment(place: &Place, version: Version, transport: &str) -> String {
    let websocket = transport == "ws";
    let (plain, tls, mutual) = if websocket {
        (place.ws, place.wss, place.mutual_wss)
    } else {
        (place.tcp, place.tls, place.mutual_tls)
    };
    let features: Vec<&str> = Feature::ALL
        .into_iter()
        .filter(|feature| feature.exists_in(version))
        .map(Feature::name)
        .collect();
    let mut json = String::from("{");
    let mut member = |name: &str, value: String| {
        let comma = if json.len() > 1 { "," } else { "" };
        write!(json, "{comma}{name:?}:{value}").expect("a string takes everything");
    };
    member(
        "version",
        match version {
            Version::V311 => "4",
            Version::V5 => "5",
        }
        .to_owned(),
    );
    member("transport", format!("{transport:?}"));
    member("prefix", format!("{:?}", format!("{transport}-{version}")));
    member("patience_seconds", PATIENCE.as_secs().to_string());
    member("plain_port", plain.port().to_string());
    member("tls_port", tls.port().to_string());
    member("mutual_tls_port", mutual.port().to_string());
    let file = |path: &Path| format!("{:?}", path.display().to_string());
    member("authority", file(&place.certificates.authority));
    member("certificate", file(&place.certificates.client));
    member("key", file(&place.certificates.client_key));
    // The debug format of plain words is JSON.
    member("features", format!("{features:?}"));
    json.push('}');
    json
}
