//! The binary called as `keepalived`, in namespaces of its own: its command line, its way into the background, pid
//! files, signals, dumps and exit statuses. As root, or where user namespaces are allowed; otherwise skipped.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Output};

/// What stands before each script: a machine with one interface, an empty /run, and the binary under its other name.
const BEFORE: &str = r#"
mount -t tmpfs tmpfs /run && mkdir /run/bin && touch /run/bin/keepalived || exit 77
mount --bind "$BINARY" /run/bin/keepalived && PATH=/run/bin:$PATH:/usr/sbin:/sbin || exit 77
ip link set lo up && ip link add lan0 type veth peer name cable0 || exit 77
ip link set lan0 up && ip link set cable0 up && ip address add 192.0.2.250/24 dev lan0 || exit 77
cat >/run/one.conf <<END
vrrp_instance gw {
    interface lan0
    virtual_router_id 51
    priority 255
    virtual_ipaddress {
        192.0.2.1/24
    }
}
END
# until COMMAND...: waits for it, but not for ever.
until_() { for attempt in $(seq 100); do "$@" && return; sleep 0.05; done; echo "never: $*"; exit 1; }
gone() { ! kill -0 "$1" 2>/dev/null; }
active() { ip address show dev lan0 | grep -q 192.0.2.1/24; }
"#;

/// Runs a script in namespaces of its own; `None` if there can be none here.
fn run(script: &str) -> Option<String> {
    let mut unshare = Command::new("unshare");
    if fs::metadata("/proc/self").is_ok_and(|own| own.uid() != 0) {
        unshare.args(["--user", "--map-root-user"]);
    }
    unshare.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-uc"]);
    let Output { status, stdout, stderr } =
        unshare.arg(format!("{BEFORE}{script}")).env("BINARY", env!("CARGO_BIN_EXE_steadfast")).output().unwrap();
    let stderr = String::from_utf8_lossy(&stderr);
    if status.code() == Some(77) || stderr.contains("not permitted") {
        println!("skipped: there can be no namespaces here: {}", stderr.trim());
        return None;
    }
    let stdout = String::from_utf8(stdout).unwrap();
    assert!(status.success(), "{status}\n{stdout}\n{stderr}");
    Some(stdout)
}

#[test]
fn it_goes_into_the_background_and_is_found_by_its_pid_files() {
    let script = r#"
cd /run; keepalived -D -f one.conf 2>/run/log </dev/null; echo "start $?"
p=$(cat /run/keepalived.pid); [ "$p" = "$(cat /run/keepalived_vrrp.pid)" ] && echo same
ls /run/keepalived_checkers.pid 2>/dev/null
readlink /proc/$p/cwd /proc/$p/fd/0; [ "$(ps -o sid= -p $p | tr -d ' ')" = $p ] && echo leader
until_ active
keepalived -n -l -f one.conf 2>&1; echo "second $?"
keepalived -f one.conf 2>&1; echo "third $?"
kill $p; until_ gone $p; ls /run/*.pid 2>/dev/null; active || echo released
"#;
    let Some(said) = run(script) else { return };
    let running = |line: &str| line.ends_with(" is running already");
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[..4], ["start 0", "same", "/", "/dev/null"], "{said}");
    assert!(lines[4] == "leader" && running(lines[5]) && lines[6] == "second 0", "{said}");
    assert!(running(lines[7]) && lines[8..] == ["third 0", "released"], "{said}");
}

#[test]
fn what_cannot_start_says_so_in_the_foreground() {
    let script = r#"
keepalived -f /run/none.conf 2>&1; echo "none $?"; ls /run/*.pid 2>/dev/null
echo "12345678" >/run/keepalived.pid
keepalived -f /run/one.conf 2>/run/log; echo "stale $?"; p=$(cat /run/keepalived.pid)
kill $p; until_ gone $p
"#;
    let Some(said) = run(script) else { return };
    assert!(said.contains("/run/none.conf:1:1: error: the file cannot be read"), "{said}");
    assert!(said.ends_with("none 2\nstale 0\n"), "{said}");
}

#[test]
fn its_signals_write_what_exporters_read() {
    let script = r#"
mount -t tmpfs tmpfs /tmp
keepalived -n -l -f /run/one.conf --pid=/run/x.pid --vrrp_pid /run/y.pid 2>/run/log & p=$!
until_ active; [ "$(cat /run/x.pid /run/y.pid)" = "$p
$p" ] && echo pids; cd /run/steadfast; ls x.sock; cd /
ln -s /run/precious /tmp/keepalived.json; echo precious >/run/precious
for number in 36 37 $(keepalived --signum=STATS) $(keepalived --signum=DATA); do
    rm -f /tmp/keepalived.stats /tmp/keepalived.data; before=$(ls -i /tmp/keepalived.json)
    kill -$number $p
    until_ eval '[ -e /tmp/keepalived.stats ] || [ -e /tmp/keepalived.data ] || [ "$before" != "$(ls -i /tmp/keepalived.json)" ]'
done
cat /run/precious; stat -c %a /tmp/keepalived.json; cat /tmp/keepalived.json; echo
kill -HUP $p; until_ grep -q 'read again' /run/log
kill $p; wait $p; echo "stop $?"; ls /tmp
"#;
    let Some(said) = run(script) else { return };
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[..4], ["pids", "x.sock", "precious", "600"], "{said}");
    let document: serde_json::Value = serde_json::from_str(lines[4]).unwrap();
    assert_eq!((&document[0]["data"]["iname"], &document[0]["data"]["state"]), (&"gw".into(), &2.into()));
    assert_eq!(document[0]["stats"]["become_master"], 1);
    assert_eq!(lines[5..], ["stop 0", "keepalived.data", "keepalived.json"], "{said}");
}

#[test]
fn a_test_has_keepaliveds_exit_statuses() {
    let script = r#"
t() { keepalived -t -f /run/t.conf 2>/run/said; echo "$1 $?"; }
cp /run/one.conf /run/t.conf; t good
sed '1i global_defs {\n enable_dbus\n}' /run/one.conf >/run/t.conf; t lacking
sed '1i nonsense' /run/one.conf >/run/t.conf; t unknown
sed 's/51/256/' /run/one.conf >/run/t.conf; t wrong
sed '3i notify /bin/true' /run/one.conf >/run/t.conf; t script
sed '1i global_defs {\n enable_script_security\n}' /run/t.conf >/run/u.conf; mv /run/u.conf /run/t.conf; grep -q notify /run/t.conf && t guarded
rm /run/t.conf; t missing
sed 's/51/$N/; 1i @a $N=7\n@^a $N=300' /run/one.conf >/run/t.conf
keepalived -t -i a -f /run/t.conf; echo "id $?"; keepalived --config-test=/run/said --config-id b -f /run/t.conf; echo "other $?"; cut -d: -f2- /run/said
keepalived --version 2>&1; keepalived --nonsense 2>&1; echo "usage $?"
"#;
    let Some(said) = run(script) else { return };
    let expected = [
        "good 0",
        "lacking 0",
        "unknown 5",
        "wrong 5",
        "script 6",
        "guarded 0",
        "missing 4",
        "id 0",
        "other 5",
        "5:23: error: `virtual_router_id` wants a number from 1 to 255, not `300`",
        concat!("Steadfast ", env!("CARGO_PKG_VERSION"), ", in the place of Keepalived v2.4.3"),
        "steadfast: invalid option '--nonsense'; see `keepalived --help`",
        "usage 1",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn subsystems_run_alone() {
    let script = r#"
cat /run/one.conf >/run/both.conf; cat >>/run/both.conf <<END
virtual_server 192.0.2.2 80 {
    protocol TCP
    real_server 192.0.2.3 80 {
    }
}
END
keepalived -P -f /run/both.conf 2>/run/log; p=$(cat /run/keepalived.pid); cd /run; echo *.pid; until_ active; kill $p; until_ gone $p
keepalived -C -f /run/both.conf 2>/run/log; p=$(cat /run/keepalived.pid); echo *.pid
active && echo "must not be"; kill $p; until_ gone $p
"#;
    let Some(said) = run(script) else { return };
    assert_eq!(said, "keepalived.pid keepalived_vrrp.pid\nkeepalived.pid keepalived_checkers.pid\n");
}
