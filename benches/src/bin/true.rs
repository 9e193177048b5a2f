//! What the containers run: ends at once with code 0, or with the code that it is given, or waits for a signal.

#![no_std]
#![no_main]

bare::program!(run);

fn run(args: &bare::sys::start::Args) -> i32 {
    match args.as_slice().get(1).map(|arg| arg.to_bytes()) {
        Some(b"wait") => bare::sys::pause(),
        Some(code) => bare::text::number(code) as i32,
        None => 0,
    }
}
