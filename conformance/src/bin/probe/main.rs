//! The payload of the conformance suite: prints as JSON what can be seen from inside a container.

fn main() {
    println!("{{}}");
}
