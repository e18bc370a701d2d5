//! The C side, built as a maker builds it: the header in C99 and C++, the example with every warning an error, the
//! library without the standard library and without a panic that can be reached. What the functions do with wrong
//! pointers is in `interface.rs`, elections in the namespace tests.

#![allow(missing_docs, clippy::arithmetic_side_effects, clippy::expect_used, reason = "a test fails by a panic")]
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by a panic")]

use std::path::{Path, PathBuf};
use std::process::Command;

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder of this test's own, in cargo's target folder.
fn scratch() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

fn there(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

#[test]
fn the_header_is_c99_and_cpp_without_a_warning() {
    for (compiler, language, standard) in [("gcc", "c", "-std=c99"), ("g++", "c++", "-std=c++11")] {
        if !there(compiler) {
            continue;
        }
        let source = scratch().join("header.").with_extension(if language == "c" { "c" } else { "cc" });
        std::fs::write(&source, "#include \"steadfast.h\"\nint main(void) { return STEADFAST_RESULT_OK; }\n").unwrap();
        let mut command = Command::new(compiler);
        command.args([standard, "-pedantic", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-x", language]);
        run(command.arg("-I").arg(folder().join("include")).arg(source));
    }
}

/// The library is built without the standard library, its panic handler calls a function that nobody defines, and what
/// cannot be reached from the example and from a call of every function is left out by the linker: that it links shows
/// that nothing in it can panic.
#[test]
fn no_panic_can_be_reached() {
    if !there("gcc") {
        return;
    }
    let target = scratch().join("freestanding");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--release", "--package", "steadfast-c", "--features", "freestanding"]);
    run(cargo.arg("--target-dir").arg(&target).current_dir(folder()));
    let library = target.join("release/libsteadfast_c.a");
    let every = scratch().join("every.c");
    std::fs::write(&every, every_function()).unwrap();
    for source in [folder().join("example/tap.c"), every] {
        let mut gcc = Command::new("gcc");
        gcc.args(["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-O2", "-Wl,--gc-sections"]);
        gcc.arg("-I").arg(folder().join("include")).arg(&source).arg(&library);
        run(gcc.arg("-o").arg(scratch().join("linked")));
    }
}

/// A program that has the address of every function of the header.
fn every_function() -> String {
    let header = std::fs::read_to_string(folder().join("include/steadfast.h")).unwrap();
    let mut names: Vec<&str> = header
        .lines()
        .filter(|line| !line.starts_with("//") && !line.starts_with(' '))
        .filter_map(|line| line.split('(').next()?.split(' ').next_back()?.strip_prefix("steadfast_"))
        .collect();
    names.retain(|name| *name != "fatal");
    assert!(names.len() > 15, "{names:?}");
    let list: String = names.iter().map(|name| format!("    (function)steadfast_{name},\n")).collect();
    format!(
        "#include \"steadfast.h\"\ntypedef void (*function)(void);\nfunction volatile all[] = {{\n{list}}};\n\
         int main(void) {{ return all[0] == 0; }}\n"
    )
}
