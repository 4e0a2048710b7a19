//! The series of a scrape, made anew in a plain registry of the crate `prometheus`: `plain TIMES < SCRAPE`.
//!
//! Encodes them so often and prints, as JSON, the series, the bytes, the CPU of one encode and the memory of all series.

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    io::{Read, Write, stdin, stdout},
};

use prometheus::{
    CounterVec, Encoder, GaugeVec, HistogramOpts, HistogramVec, Opts, Registry, TextEncoder, core::Collector,
};

type Failed = Box<dyn Error>;

/// A family as the scrape shows it.
#[derive(Default)]
struct Family {
    r#type: String,
    /// Names of labels, and the bounds of a histogram.
    labels: Vec<String>,
    bounds: Vec<f64>,
    /// Values of labels, each set once.
    series: Vec<Vec<String>>,
}

fn main() -> Result<(), Failed> {
    let times: u32 = std::env::args().nth(1).ok_or("plain TIMES < SCRAPE")?.parse()?;
    let mut text = String::new();
    stdin().read_to_string(&mut text)?;
    let families = read(&text)?;
    drop(text);
    let before = resident_kib()?;
    let registry = Registry::new();
    for (name, family) in &families {
        registry.register(make(name, family)?)?;
    }
    let memory = resident_kib()?.saturating_sub(before);
    let (encoder, mut bytes, mut series) = (TextEncoder::new(), 0, 0);
    let start = cpu_nanoseconds()?;
    for _ in 0..times {
        let mut text = Vec::new();
        encoder.encode(&registry.gather(), &mut text)?;
        bytes = text.len();
        series = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && line[0] != b'#').count();
    }
    let spent = (cpu_nanoseconds()? - start) / u64::from(times);
    writeln!(
        stdout(),
        "{{\"series\": {series}, \"bytes\": {bytes}, \"cpu_ns\": {spent}, \"memory_kib\": {memory}}}"
    )?;
    Ok(())
}

/// The families of a scrape whose label values hold no escapes.
fn read(text: &str) -> Result<BTreeMap<String, Family>, Failed> {
    let mut families = BTreeMap::<String, Family>::new();
    let (mut name, mut last) = (String::new(), vec![]);
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("# TYPE ") {
            let (of, r#type) = head.split_once(' ').ok_or("a head without a type")?;
            name = of.to_owned();
            families.entry(name.clone()).or_default().r#type = r#type.to_owned();
            last = vec![];
        }
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        let family = families.get_mut(&name).ok_or("a series without a head")?;
        let labels = line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map_or("", |(own, _)| own);
        let mut pairs: Vec<(&str, &str)> = labels
            .split_terminator("\",")
            .filter_map(|pair| pair.trim_end_matches('"').split_once("=\""))
            .collect();
        if let Some(at) = pairs.iter().position(|(label, _)| *label == "le") {
            let bound: f64 = pairs.remove(at).1.parse()?;
            if bound.is_finite() && !family.bounds.contains(&bound) {
                family.bounds.push(bound);
            }
        }
        let values: Vec<String> = pairs.iter().map(|(_, value)| (*value).to_owned()).collect();
        if last != values {
            family.labels = pairs.iter().map(|(label, _)| (*label).to_owned()).collect();
            family.series.push(values.clone());
            last = values;
        }
    }
    Ok(families)
}

fn make(name: &str, family: &Family) -> Result<Box<dyn Collector>, Failed> {
    let labels: Vec<&str> = family.labels.iter().map(String::as_str).collect();
    let values = || family.series.iter().map(|values| values.iter().map(String::as_str).collect::<Vec<_>>());
    Ok(match family.r#type.as_str() {
        "histogram" => {
            let options = HistogramOpts::new(name, "As netjobs has it.").buckets(family.bounds.clone());
            let all = HistogramVec::new(options, &labels)?;
            values().for_each(|values| all.with_label_values(&values).observe(0.000_123_4));
            Box::new(all)
        }
        "counter" => {
            let all = CounterVec::new(Opts::new(name, "As netjobs has it."), &labels)?;
            values().for_each(|values| all.with_label_values(&values).inc());
            Box::new(all)
        }
        _ => {
            let all = GaugeVec::new(Opts::new(name, "As netjobs has it."), &labels)?;
            values().for_each(|values| all.with_label_values(&values).set(1.5));
            Box::new(all)
        }
    })
}

/// CPU time of this process's only thread.
fn cpu_nanoseconds() -> Result<u64, Failed> {
    let text = fs::read_to_string("/proc/self/schedstat")?;
    Ok(text.split(' ').next().ok_or("no figures")?.parse()?)
}

fn resident_kib() -> Result<u64, Failed> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
