//! What extensions are told: the sections `[delayed]`, `[queue]` for all work queues and `[kv]` for
//! all buckets of keys and values, `[queues]` and `[buckets]` for those that are there from the start.

use nexum_extension_api::check_name;

use super::Config;
use super::reader::Reader;

const KIB: u64 = 1 << 10;
const TIB: u64 = 1 << 40;

pub(super) fn read(reader: &mut Reader<'_>, config: &mut Config) {
    let mut delayed = reader.section("delayed");
    delayed.count(
        "maximum_messages",
        0..=1 << 32,
        &mut config.delayed.maximum_messages,
    );
    delayed.bytes("maximum_bytes", 0..=TIB, &mut config.delayed.maximum_bytes);

    let settings = &mut config.queues;
    let mut queue = reader.section("queue");
    queue.boolean("auto_create", &mut settings.auto_create);
    queue.bytes("memory_bytes", KIB..=TIB, &mut settings.memory_bytes);
    queue.count("maximum_queues", 1..=1 << 24, &mut settings.maximum_queues);
    let common = settings.defaults.clone();
    queue.table(
        "defaults",
        |table| common.with(table).map_err(|error| error.to_string()),
        &mut settings.defaults,
    );
    let defaults = settings.defaults.clone();
    settings.declared = reader.section("queues").named_tables(|name, table| {
        check_name(name).map_err(|error| error.to_string())?;
        defaults.with(table).map_err(|error| error.to_string())
    });

    let settings = &mut config.buckets;
    let mut kv = reader.section("kv");
    kv.boolean("auto_create", &mut settings.auto_create);
    kv.count(
        "maximum_buckets",
        1..=1 << 24,
        &mut settings.maximum_buckets,
    );
    kv.count("backlog", 1..=1 << 24, &mut settings.backlog);
    kv.bytes("backlog_bytes", KIB..=TIB, &mut settings.backlog_bytes);
    let common = settings.defaults.clone();
    kv.table(
        "defaults",
        |table| common.with(table).map_err(|error| error.to_string()),
        &mut settings.defaults,
    );
    let defaults = settings.defaults.clone();
    settings.declared = reader.section("buckets").named_tables(|name, table| {
        check_name(name).map_err(|error| error.to_string())?;
        defaults.with(table).map_err(|error| error.to_string())
    });
}
