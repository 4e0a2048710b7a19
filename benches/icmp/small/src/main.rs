//! One sweep by the library, whose receive buffer is forced to a size: `small BYTES SWEEP`, the sweep as JSON.
//!
//! The program itself has no key for that. Prints the counts as netjobs' own record does.

use std::{env, error::Error, io::Write, time::Duration};

use netjobs::{
    context::testing::context,
    kind::{Kind, sweep::Sweep},
    outcome::Sample,
};
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<_> = env::args().skip(1).collect();
    let [bytes, sweep] = &words[..] else { return Err("small BYTES SWEEP".into()) };
    let sweep: Sweep = serde_json::from_str(sweep)?;
    let (cx, _) = context(vec![], Some(Duration::from_mins(1)));
    let bytes = bytes.parse()?;
    let outcome = Runtime::new()?.block_on(async {
        cx.shared().probers.start_with_buffer(false, bytes)?;
        Ok::<_, Box<dyn Error>>(sweep.run(&cx).await?)
    })?;
    let names = ["alive", "dead", "packets", "local_drops"];
    let count = |name: &str| match outcome.samples[0].find(name) {
        Some(Sample::Count(count)) => Value::from(*count),
        _ => Value::Null,
    };
    let counts: Map<_, _> = names.into_iter().map(|name| (name.to_owned(), count(name))).collect();
    writeln!(std::io::stdout(), "{}", json!({ "event": "run_finished", "samples": counts }))?;
    Ok(())
}
