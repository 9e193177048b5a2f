//! The programs without a C library bring their own `_start`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for program in ["floor", "true", "weigh"] {
        for argument in ["-nostartfiles", "-nostdlib", "-static"] {
            println!("cargo:rustc-link-arg-bin={program}={argument}");
        }
    }
}
