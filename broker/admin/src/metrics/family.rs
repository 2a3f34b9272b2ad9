//! Metric families made at the moment they are asked for.
//!
//! The numbers live with the shards, so there is no registry to keep in step with them: each
//! answer is built from one snapshot and thrown away.

use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

/// A family under construction.
pub(crate) struct Family {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    metrics: Vec<Metric>,
}

/// How often something was how large.
#[derive(Clone, Debug, Default)]
pub(crate) struct Distribution {
    /// Ascending upper bounds, each with the number of observations at or below it.
    pub(crate) cumulative: Vec<(f64, u64)>,
    /// All observations, also those above the last bound.
    pub(crate) count: u64,
    /// What they add up to.
    pub(crate) sum: f64,
}

impl Family {
    /// A number that only grows; its name ends in `_total`.
    pub(crate) fn counter(name: &'static str, help: &'static str) -> Family {
        debug_assert!(name.ends_with("_total"), "{name}");
        Family::new(name, help, MetricType::COUNTER)
    }

    /// A number that comes and goes.
    pub(crate) fn gauge(name: &'static str, help: &'static str) -> Family {
        Family::new(name, help, MetricType::GAUGE)
    }

    /// How often something was how large.
    pub(crate) fn histogram(name: &'static str, help: &'static str) -> Family {
        Family::new(name, help, MetricType::HISTOGRAM)
    }

    fn new(name: &'static str, help: &'static str, kind: MetricType) -> Family {
        Family {
            name,
            help,
            kind,
            metrics: Vec::new(),
        }
    }

    /// Adds a value without labels.
    pub(crate) fn value(self, value: impl IntoSample) -> Family {
        self.labelled(&[], value)
    }

    /// Adds a value with labels.
    pub(crate) fn labelled(mut self, labels: &[(&str, &str)], value: impl IntoSample) -> Family {
        let mut metric = labelled(labels);
        match self.kind {
            MetricType::COUNTER => {
                let mut counter = Counter::default();
                counter.set_value(value.into_sample());
                metric.set_counter(counter);
            }
            MetricType::GAUGE => {
                let mut gauge = Gauge::default();
                gauge.set_value(value.into_sample());
                metric.set_gauge(gauge);
            }
            MetricType::HISTOGRAM | MetricType::SUMMARY | MetricType::UNTYPED => {
                unreachable!("a family of numbers is of counters or gauges")
            }
        }
        self.metrics.push(metric);
        self
    }

    /// Adds a histogram's state.
    pub(crate) fn distribution(mut self, distribution: &Distribution) -> Family {
        let mut histogram = Histogram::default();
        let buckets = distribution.cumulative.iter().map(|(bound, count)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(*count);
            bucket
        });
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(distribution.count);
        histogram.set_sample_sum(distribution.sum);
        let mut metric = labelled(&[]);
        metric.set_histogram(histogram);
        self.metrics.push(metric);
        self
    }

    /// The finished family.
    pub(crate) fn build(self) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(self.kind);
        family.set_metric(self.metrics);
        family
    }
}

fn labelled(labels: &[(&str, &str)]) -> Metric {
    let pairs = labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    Metric::from_label(pairs.collect())
}

/// Numbers that a sample can hold; it is a double, exact up to 2^53.
pub(crate) trait IntoSample {
    fn into_sample(self) -> f64;
}

impl IntoSample for f64 {
    fn into_sample(self) -> f64 {
        self
    }
}

impl IntoSample for u64 {
    fn into_sample(self) -> f64 {
        self as f64
    }
}
