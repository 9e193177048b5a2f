//! Containers that are ready before they are needed: making one takes the time, starting it hardly any.
//!
//! `cargo run -p runtime-core --example create_now_start_later -- BUNDLE`. Needs root. The bundle's process must not
//! need a terminal.

use std::env;
use std::path::Path;
use std::time::Instant;

use runtime_core::{Bundle, CreateOptions, Created, Result, Runtime};

const POOL: usize = 5;

fn main() -> Result<()> {
    let bundle = env::args().nth(1).unwrap_or_else(|| ".".into());
    let bundle = Bundle::load(Path::new(&bundle))?;
    let runtime = Runtime::new("/run/oci-rt-example")?;

    let begun = Instant::now();
    let pool = (0..POOL)
        .map(|number| runtime.create(&format!("ready-{number}"), &bundle, CreateOptions::default()))
        .collect::<Result<Vec<Created>>>()?;
    println!(
        "{POOL} containers made in {:?}; their processes wait",
        begun.elapsed()
    );

    for created in pool {
        let begun = Instant::now();
        let running = created.start()?;
        let took = begun.elapsed();
        let status = running.wait()?;
        println!("{} started in {took:?}: {status}", running.container().id());
        running.container().delete()?;
    }
    Ok(())
}
