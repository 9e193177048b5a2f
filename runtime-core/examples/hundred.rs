//! A hundred containers at once from an async program:
//! `cargo run -p runtime-core --features tokio --example hundred -- BUNDLE`. Needs root.
//!
//! Creating is a matter of milliseconds of system calls, so it goes to the blocking pool; waiting costs no thread.

use std::env;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use runtime_core::{Bundle, CreateOptions, Error, Result, Runtime, Stdio, Stream};
use tokio::task::{JoinSet, spawn_blocking};

const CONTAINERS: usize = 100;

async fn run(runtime: Runtime, bundle: Arc<Bundle>, id: String) -> Result<bool> {
    let panicked = |error: tokio::task::JoinError| {
        Error::new(runtime_core::Code::System, "join task").reason(error.to_string())
    };
    let start = move || {
        let stdio = Stdio {
            stdin: Stream::Null,
            ..Stdio::default()
        };
        runtime
            .create(
                &id,
                &bundle,
                CreateOptions {
                    stdio,
                    ..CreateOptions::default()
                },
            )?
            .start()
    };
    let running = spawn_blocking(start).await.map_err(panicked)??;
    let status = running.wait_async().await?;
    spawn_blocking(move || running.container().delete())
        .await
        .map_err(panicked)??;
    Ok(status.success())
}

#[tokio::main(flavor = "multi_thread")]
async fn main() -> Result<()> {
    let bundle = env::args().nth(1).unwrap_or_else(|| ".".into());
    let bundle = Arc::new(Bundle::load(Path::new(&bundle))?);
    let runtime = Runtime::new("/run/oci-rt-example")?;
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for number in 0..CONTAINERS {
        tasks.spawn(run(runtime.clone(), bundle.clone(), format!("hundred-{number}")));
    }
    let mut succeeded = 0;
    while let Some(outcome) = tasks.join_next().await {
        match outcome {
            Ok(Ok(true)) => succeeded += 1,
            Ok(Ok(false)) => {}
            Ok(Err(error)) => eprintln!("{error}"),
            Err(error) => eprintln!("{error}"),
        }
    }
    println!(
        "{succeeded} of {CONTAINERS} containers succeeded, in {:?}",
        begun.elapsed()
    );
    Ok(())
}
