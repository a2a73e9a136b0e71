//! Metrics whose numbers are known when they are asked for.

use prometheus::proto::{Bucket, Counter, Gauge, Histogram as Shown, LabelPair, Metric, MetricFamily, MetricType};

use crate::media::{BOUNDS, Histogram};

/// Labels and their values.
pub(crate) type Labels<'a> = Vec<(&'a str, &'a str)>;

/// A list of them.
#[derive(Default)]
pub(crate) struct Families(Vec<MetricFamily>);

impl Families {
    /// What only ever grows.
    pub(crate) fn counter<'a>(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (Labels<'a>, f64)>) {
        let samples = samples.into_iter().map(|(labels, value)| {
            let (mut metric, mut counter) = (labelled(&labels), Counter::default());
            counter.set_value(value);
            metric.set_counter(counter);
            metric
        });
        self.add(name, help, MetricType::COUNTER, samples.collect());
    }

    /// What is so now.
    pub(crate) fn gauge<'a>(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (Labels<'a>, f64)>) {
        let samples = samples.into_iter().map(|(labels, value)| {
            let (mut metric, mut gauge) = (labelled(&labels), Gauge::default());
            gauge.set_value(value);
            metric.set_gauge(gauge);
            metric
        });
        self.add(name, help, MetricType::GAUGE, samples.collect());
    }

    /// How long things took.
    pub(crate) fn histogram<'a>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'a>, &'a Histogram)>,
    ) {
        let samples = samples.into_iter().map(|(labels, histogram)| {
            let (mut metric, mut shown, mut so_far) = (labelled(&labels), Shown::default(), 0);
            let buckets = BOUNDS.iter().zip(&histogram.buckets).map(|(bound, count)| {
                so_far += count;
                let mut bucket = Bucket::default();
                bucket.set_upper_bound(*bound);
                bucket.set_cumulative_count(so_far);
                bucket
            });
            shown.set_bucket(buckets.collect());
            shown.set_sample_count(histogram.count);
            shown.set_sample_sum(histogram.sum.as_secs_f64());
            metric.set_histogram(shown);
            metric
        });
        self.add(name, help, MetricType::HISTOGRAM, samples.collect());
    }

    pub(crate) fn into_inner(self) -> Vec<MetricFamily> {
        self.0
    }

    fn add(&mut self, name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.0.push(family);
    }
}

fn labelled(labels: &Labels<'_>) -> Metric {
    let pairs = labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    Metric::from_label(pairs.collect())
}
