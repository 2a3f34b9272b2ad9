//! The families of the extensions, which name them themselves.

use std::collections::BTreeMap;

use nexum_extension_api::Gauge;
use prometheus::proto::MetricFamily;

use super::family::Family;

pub(super) fn families(gauges: &[Gauge]) -> Vec<MetricFamily> {
    let mut by_name: BTreeMap<&'static str, Vec<&Gauge>> = BTreeMap::new();
    for gauge in gauges {
        by_name.entry(gauge.name).or_default().push(gauge);
    }
    let family = |(name, gauges): (&'static str, Vec<&Gauge>)| {
        let help = gauges.first().map_or("", |gauge| gauge.help);
        let family = gauges
            .into_iter()
            .fold(Family::gauge(name, help), |family, gauge| {
                let labels: Vec<_> = gauge
                    .labels
                    .iter()
                    .map(|(name, value)| (*name, value.as_str()))
                    .collect();
                family.labelled(&labels, gauge.value)
            });
        family.build()
    };
    by_name.into_iter().map(family).collect()
}
