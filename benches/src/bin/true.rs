//! What the containers run: ends at once, or, given any argument, waits for a signal.

#![no_std]
#![no_main]

bare::program!(run);

fn run(args: &bare::sys::start::Args) -> i32 {
    if args.as_slice().len() > 1 {
        bare::sys::pause();
    }
    0
}
