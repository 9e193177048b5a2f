//! The programs without a C library bring their own `_start`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for program in ["floor", "true", "weigh"] {
        // The precompiled core names a function for unwinding, which never happens here.
        let personality = "-Wl,--defsym=rust_eh_personality=0";
        for argument in ["-nostartfiles", "-nostdlib", "-static", personality] {
            println!("cargo:rustc-link-arg-bin={program}={argument}");
        }
    }
}
