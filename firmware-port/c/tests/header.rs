//! The header is the one that cbindgen makes of the sources: regenerated here and compared with the one that is
//! committed. `STEADFAST_BLESS=1` writes it instead.

#![allow(missing_docs, clippy::arithmetic_side_effects, clippy::expect_used, reason = "a test fails by a panic")]
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs;
use std::path::Path;

#[test]
fn the_header_is_what_cbindgen_makes_of_the_sources() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut config = cbindgen::Config::from_file(folder.join("cbindgen.toml")).expect("cbindgen.toml can be read");
    config.parse.parse_deps = false;
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in ["types", "hardware", "api", "configure", "tracking"] {
        builder = builder.with_src(folder.join("src").join(source).with_extension("rs"));
    }
    let bindings = builder.generate().expect("the sources can be read");
    let mut made = Vec::new();
    bindings.write(&mut made);
    let made = String::from_utf8(made).expect("text");
    let path = folder.join("include/steadfast.h");
    if std::env::var_os("STEADFAST_BLESS").is_some() {
        fs::write(&path, &made).expect("the header can be written");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(made == committed, "include/steadfast.h is not that of the sources: STEADFAST_BLESS=1 writes it anew");
}
