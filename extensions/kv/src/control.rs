//! `$ctl`: what is done with a bucket as a whole.

use std::sync::Arc;

use nexum_extension_api::json::OptionsError;
use nexum_extension_api::{Command, ErrorCode, Input, Refusal, Reply};
use nexum_types::Time;

use crate::buckets::{Buckets, Pending};
use crate::refusals;

const OPERATIONS: [&str; 5] = ["create", "alter", "info", "delete", "purge"];

impl Buckets {
    pub(crate) fn control(&mut self, command: Command, now: Time) -> Result<(), Refusal> {
        let options = command.options.as_deref();
        if let Some(key) = options.and_then(|options| options.first_beyond(&[])) {
            return Err(Refusal::option(key, &[]));
        }
        let address = command.address.clone();
        if address.has_levels() {
            return Err(Refusal::new(
                ErrorCode::BadAddress,
                "$ctl follows the name of the bucket",
            ));
        }
        let operation = address.arguments();
        let name: Arc<str> = Arc::from(address.name());
        let Some(id) = self.names.get(&name).copied() else {
            if self.forming.contains_key(&name) {
                return self.wait_if_forming(&name, Input::Command(command));
            }
            return match operation {
                "create" => {
                    let defaults = &self.settings.defaults;
                    let options = defaults.with_json(command.message.payload());
                    self.create(&name, options.map_err(bad_payload)?, command.id)
                }
                operation if OPERATIONS.contains(&operation) => Err(refusals::no_bucket(&name)),
                operation => Err(unknown_operation(operation)),
            };
        };
        let payload = command.message.payload();
        match operation {
            "create" => self.create_again(id, payload, &command),
            "alter" => self.alter(id, payload, &command),
            "info" => {
                let reply = Reply {
                    payload: self.info(id).to_string().into_bytes(),
                    properties: Vec::new(),
                };
                self.reply(command.id, reply);
                Ok(())
            }
            "delete" => {
                self.delete(id, command.id, now);
                Ok(())
            }
            "purge" => {
                self.purge(id, command.id);
                Ok(())
            }
            operation => Err(unknown_operation(operation)),
        }
    }

    fn create_again(&mut self, id: u64, payload: &[u8], command: &Command) -> Result<(), Refusal> {
        let options = self.settings.defaults.with_json(payload);
        let options = options.map_err(bad_payload)?;
        let bucket = self.buckets.get(&id);
        if bucket.is_none_or(|bucket| bucket.options != options) {
            return Err(Refusal::new(
                ErrorCode::Conflict,
                "the bucket is there with other options: use $ctl/alter",
            ));
        }
        self.reply(command.id, Reply::default());
        Ok(())
    }

    fn alter(&mut self, id: u64, payload: &[u8], command: &Command) -> Result<(), Refusal> {
        let Some(bucket) = self.buckets.get_mut(&id) else {
            return Ok(());
        };
        let options = bucket.options.with_json(payload).map_err(bad_payload)?;
        if options.persist != bucket.options.persist {
            return Err(Refusal::new(
                ErrorCode::Conflict,
                "'persist' cannot change: delete the bucket and create it anew",
            ));
        }
        bucket.options = options;
        let changes = self.record_bucket(id);
        self.note(changes, Some(Pending::Reply(command.id, Reply::default())));
        Ok(())
    }
}

fn unknown_operation(operation: &str) -> Refusal {
    let reason =
        format!("there is no $ctl/{operation}; there are create, alter, info, delete and purge");
    Refusal::new(ErrorCode::BadAddress, reason)
}

fn bad_payload(error: OptionsError) -> Refusal {
    Refusal::new(ErrorCode::BadPayload, error.to_string())
}
