//! The table client × feature.

use std::fmt;

use crate::client::Version;
use crate::scenario::{Feature, Outcome};

/// A client in one version of the protocol.
pub(crate) struct Row(String);

impl Row {
    pub(crate) fn new(client: &str, transport: &str, version: Version) -> Row {
        Row(format!("{client} {transport} {version}"))
    }
}

pub(crate) struct Table(Vec<(Row, Vec<(Feature, Outcome)>)>);

impl Table {
    pub(crate) fn new() -> Table {
        Table(Vec::new())
    }

    pub(crate) fn add(&mut self, row: Row, outcomes: Vec<(Feature, Outcome)>) {
        self.0.push((row, outcomes));
    }

    pub(crate) fn has_failures(&self) -> bool {
        self.0
            .iter()
            .flat_map(|(_, outcomes)| outcomes)
            .any(|(_, outcome)| matches!(outcome, Some(Err(_))))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = self.0.iter().map(|(row, _)| row.0.len()).max().unwrap_or(0);
        write!(f, "{:widest$}", "")?;
        for feature in Feature::ALL {
            write!(f, "  {}", feature.name())?;
        }
        writeln!(f)?;
        for (row, outcomes) in &self.0 {
            write!(f, "{:widest$}", row.0)?;
            for (feature, outcome) in outcomes {
                let cell = match outcome {
                    Some(Ok(())) => "ok",
                    Some(Err(_)) => "FAIL",
                    None => "-",
                };
                write!(f, "  {cell:<0$}", feature.name().len())?;
            }
            writeln!(f)?;
        }
        writeln!(f, "-: this version of the protocol does not have it")?;
        for (row, outcomes) in &self.0 {
            for (feature, outcome) in outcomes {
                if let Some(Err(failure)) = outcome {
                    writeln!(f, "FAIL {} {}: {}", row.0, feature.name(), failure.0)?;
                }
            }
        }
        Ok(())
    }
}
