//! The virtual machine: Debian's cloud kernel under QEMU, for what network namespaces of the host cannot give, the
//! kernel's IPVS. `machine` makes and boots it, on the host; everything else runs inside, in the guest program
//! `vm_guest`: a LAN of namespaces, real servers, a director's program, the table that `ipvsadm` shows, and the
//! scenarios. `tests/tests/vm_lvs.rs` boots one VM per group of scenarios and reports each; see `tests/vm/README.md`.

pub mod director;
pub mod lateness;
pub mod machine;
pub mod net;
pub mod scenarios;
pub mod server;
pub mod table;
pub mod tap;

use std::path::{Path, PathBuf};

/// One test inside the VM.
pub struct Scenario {
    /// Its name, as the test is called.
    pub name: String,
    /// Which VM it runs in: scenarios of a group share one, one after the other.
    pub group: &'static str,
    /// Whether only `tests/run --all` runs it.
    pub long: bool,
    /// The test: it panics if it fails, and says why.
    pub run: Box<dyn Fn() + Send + Sync>,
}

impl Scenario {
    fn new(group: &'static str, name: impl Into<String>, run: impl Fn() + Send + Sync + 'static) -> Self {
        Self { name: name.into(), group, long: false, run: Box::new(run) }
    }

    fn long(mut self) -> Self {
        self.long = true;
        self
    }
}

/// Where the configurations are, `NAME.conf` and the table that comes of it, `NAME.table`: `/configs` inside the VM,
/// `tests/vm/configs` outside.
pub fn configurations() -> PathBuf {
    let inside = Path::new("/configs");
    if inside.is_dir() { inside.to_owned() } else { Path::new(env!("CARGO_MANIFEST_DIR")).join("vm/configs") }
}
