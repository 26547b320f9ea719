//! Metric families that are read at each scrape, so that no series outlives what it is about: of each family its name, its
//! help, its labels, and where its values come from.

use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{self, Bucket, LabelPair, Metric, MetricFamily, MetricType};
use wire::{Histogram, LifeState};

/// A family of metrics. `S` is what one scrape looks at.
pub struct Family<S> {
    /// Its name.
    pub name: &'static str,
    /// What it says, in one sentence.
    pub help: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    read: Read<S>,
}

/// Where a family's values come from.
enum Read<S> {
    Counter(fn(&S) -> Samples),
    Gauge(fn(&S) -> Samples),
    Histogram(fn(&S) -> Samples<Histogram>),
}

/// Values, each with those of its labels.
pub type Samples<V = f64> = Vec<(Vec<String>, V)>;

/// Numbers that only grow.
pub const fn counter<S>(
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    read: fn(&S) -> Samples,
) -> Family<S> {
    Family { name, help, labels, read: Read::Counter(read) }
}

/// Numbers.
pub const fn gauge<S>(
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    read: fn(&S) -> Samples,
) -> Family<S> {
    Family { name, help, labels, read: Read::Gauge(read) }
}

/// Times in seconds.
pub const fn histogram<S>(
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    read: fn(&S) -> Samples<Histogram>,
) -> Family<S> {
    Family { name, help, labels, read: Read::Histogram(read) }
}

impl<S> Family<S> {
    /// The kind in the exposition format.
    pub fn kind(&self) -> &'static str {
        match self.read {
            Read::Counter(_) => "counter",
            Read::Gauge(_) => "gauge",
            Read::Histogram(_) => "histogram",
        }
    }

    fn collect(&self, seen: &S) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        let (kind, metrics) = match self.read {
            Read::Counter(read) => (MetricType::COUNTER, self.metrics(read(seen), set_counter)),
            Read::Gauge(read) => (MetricType::GAUGE, self.metrics(read(seen), set_gauge)),
            Read::Histogram(read) => (MetricType::HISTOGRAM, self.metrics(read(seen), set_histogram)),
        };
        family.set_field_type(kind);
        family.set_metric(metrics);
        family
    }

    fn metrics<V>(&self, samples: Samples<V>, set: impl Fn(&mut Metric, V)) -> Vec<Metric> {
        let label = |(name, value): (&&str, String)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value(value);
            pair
        };
        let metric = |(values, value): (Vec<String>, V)| {
            let mut metric = Metric::default();
            metric.set_label(self.labels.iter().zip(values).map(label).collect());
            set(&mut metric, value);
            metric
        };
        samples.into_iter().map(metric).collect()
    }
}

fn set_counter(metric: &mut Metric, value: f64) {
    let mut counter = proto::Counter::default();
    counter.set_value(value);
    metric.set_counter(counter);
}

fn set_gauge(metric: &mut Metric, value: f64) {
    let mut gauge = proto::Gauge::default();
    gauge.set_value(value);
    metric.set_gauge(gauge);
}

fn set_histogram(metric: &mut Metric, times: Histogram) {
    let bucket = |(bound, count): &(u64, u64)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(number(*bound) / 1e6);
        bucket.set_cumulative_count(*count);
        bucket
    };
    let mut histogram = proto::Histogram::default();
    histogram.set_bucket(times.buckets.iter().map(bucket).collect());
    histogram.set_sample_sum(number(times.sum_us) / 1e6);
    histogram.set_sample_count(times.count);
    metric.set_histogram(histogram);
}

/// The families with their values, for the text encoder. Those without a value are left out.
pub fn gather<S>(families: &[Family<S>], seen: &S) -> Vec<MetricFamily> {
    let families = families.iter().map(|family| family.collect(seen));
    families.filter(|family| !family.get_metric().is_empty()).collect()
}

/// A collector that looks at each scrape.
pub struct Scrape<S: 'static, F> {
    families: &'static [Family<S>],
    look: F,
    descriptions: Vec<Desc>,
}

impl<S, F: Fn() -> S + Send + Sync> Scrape<S, F> {
    /// A collector of these families, whose values are in what `look` returns.
    ///
    /// # Errors
    /// If a family's name is no metric name; a test of each daemon keeps that from happening.
    pub fn new(families: &'static [Family<S>], look: F) -> prometheus::Result<Self> {
        let describe = |family: &Family<S>| {
            let labels = family.labels.iter().map(|label| (*label).to_owned()).collect();
            Desc::new(family.name.to_owned(), family.help.to_owned(), labels, Default::default())
        };
        let descriptions = families.iter().map(describe).collect::<prometheus::Result<_>>()?;
        Ok(Self { families, look, descriptions })
    }
}

impl<S, F: Fn() -> S + Send + Sync> Collector for Scrape<S, F> {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        gather(self.families, &(self.look)())
    }
}

/// The table that `docs/metrics.md` has of families.
pub fn table<S>(families: &[Family<S>]) -> String {
    let row = |family: &Family<S>| {
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, help, kind, labels) = (family.name, family.help, family.kind(), labels.join(" "));
        format!("| `{name}` | {kind} | {labels} | {help} |\n")
    };
    let rows: String = families.iter().map(row).collect();
    format!("| name | kind | labels | meaning |\n|---|---|---|---|\n{rows}")
}

/// A value without labels.
pub fn one<V>(value: V) -> Samples<V> {
    vec![(Vec::new(), value)]
}

/// 1 for `current`, 0 for the other words, each with its word as the label.
pub fn one_of<'a>(words: impl IntoIterator<Item = &'a str>, current: &str) -> Samples {
    words.into_iter().map(|word| (vec![word.to_owned()], flag(word == current))).collect()
}

/// 1 for the state that a daemon is in, 0 for the others.
pub fn life(state: LifeState) -> Samples {
    let all = [LifeState::Starting, LifeState::Ready, LifeState::Draining, LifeState::Stopping];
    one_of(all.map(LifeState::word), state.word())
}

/// 1 for true, 0 for false.
pub fn flag(is_set: bool) -> f64 {
    f64::from(u8::from(is_set))
}

/// Milliseconds as seconds.
pub fn seconds(ms: u64) -> f64 {
    Duration::from_millis(ms).as_secs_f64()
}

/// Prometheus knows only floating-point numbers: above 2^53 the last digits are lost.
pub fn number(count: u64) -> f64 {
    count as f64
}
