//! Files that include others: what they mean together, what is said when one is missing, and that it all ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use steadfast_core::config::Severity;
use steadfast_linux::check::MOST_FINDINGS;
use steadfast_linux::plan::{self, Loaded};
use steadfast_linux::source;

/// An empty folder of one test's own.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("include-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Writes a file, and the folders above it.
fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// The plan of a folder's `main`, and its findings without the folder.
fn load(folder: &Path) -> (Loaded, Vec<String>) {
    let loaded = plan::load(&folder.join("main"));
    let prefix = format!("{}/", folder.display());
    let findings = loaded.findings.iter().map(|finding| finding.to_string().replace(&prefix, "")).collect();
    (loaded, findings)
}

fn instance(name: &str, vrid: u8) -> String {
    format!(
        "vrrp_instance {name} {{\ninterface lan0\nvirtual_router_id {vrid}\nvirtual_ipaddress {{ 192.0.2.{vrid} }}\n}}\n"
    )
}

fn names(loaded: &Loaded) -> Vec<&str> {
    loaded.plan.as_ref().unwrap().routers.iter().map(|router| router.name.as_str()).collect()
}

#[test]
fn included_files_stand_where_they_are_included_sorted_by_name() {
    let folder = folder("order");
    write(&folder, "main", &format!("{}include d/*.conf\ninclude \"{{y,x}}\"\n{}", instance("A", 1), instance("Z", 9)));
    write(&folder, "d/2.conf", &instance("C", 3));
    write(&folder, "d/1.conf", "include sub/one\n");
    write(&folder, "d/sub/one", instance("B", 2).trim_end());
    write(&folder, "d/.hidden.conf", "nonsense");
    write(&folder, "d/3.conf/not_a_file", "nonsense");
    write(&folder, "y", &instance("Y", 8));
    write(&folder, "x", &instance("X", 7));
    let (loaded, findings) = load(&folder);
    assert_eq!(findings, [""; 0]);
    assert_eq!(names(&loaded), ["A", "B", "C", "Y", "X", "Z"]);
}

#[test]
fn a_missing_file_is_an_error_at_its_place_and_a_pattern_without_matches_is_a_notice() {
    let folder = folder("missing");
    write(&folder, "main", &format!("{}\n  include  none.conf\ninclude none*\nincludew none*\n", instance("A", 1)));
    let (loaded, findings) = load(&folder);
    let expected = [
        "main:7:12: error: `none.conf` is not included: there is no such file",
        "main:8:9: notice: no file matches `none*`; nothing is included",
        "main:9:10: error: no file matches `none*`",
    ];
    assert_eq!(findings, expected);
    // A running agent keeps what it has.
    assert!(loaded.findings.has_errors());
    assert_eq!(names(&loaded), ["A"]);
}

#[test]
fn findings_name_the_file_that_somebody_wrote() {
    let folder = folder("places");
    write(&folder, "main", "include a\n}\n");
    write(
        &folder,
        "a",
        "\u{feff}global_defs {\n rooter_id x\ninclude b\n}\nvirtual_server 192.0.2.1 80 {\nprotocol TCP\nreal_server 10.0.0.1 80\n}\ninclude b",
    );
    write(&folder, "b", " rooter_id y");
    let (_, findings) = load(&folder);
    let expected = [
        "a:2:2: warning: unknown keyword `rooter_id`; did you mean `router_id`?",
        "b:1:2: warning: unknown keyword `rooter_id`; did you mean `router_id`?",
        "b:1:2: warning: unknown keyword `rooter_id`; it has no effect",
        "main:2:1: error: this `}` has no `{`",
    ];
    assert_eq!(findings, expected);
}

#[test]
fn sentences_about_two_places_name_both_files() {
    let folder = folder("two");
    let service = "virtual_server 192.0.2.1 80 {\nprotocol TCP\nreal_server 10.0.0.1 80\n}\n";
    write(&folder, "main", &format!("include a\n{}{service}", instance("B", 1)));
    write(&folder, "a", &format!("\n{}{service}", instance("A", 1)));
    let (_, findings) = load(&folder);
    let expected = [
        "main:2:1: error: `A` at a:2:1 has the same virtual_router_id, family and interface; this one is left out",
        "main:7:1: error: `virtual_server 192.0.2.1 80` at a:7:1 has TCP 192.0.2.1:80 already; this one is left out",
    ];
    assert_eq!(findings, expected);
}

#[test]
fn what_cannot_be_read_is_said() {
    let folder = folder("unreadable");
    write(&folder, "main", "include latin1\ninclude folder\ninclude pipe\ninclude /dev/null\n");
    fs::write(folder.join("latin1"), b"# fine\nrouter_id \xe9\n").unwrap();
    fs::create_dir(folder.join("folder")).unwrap();
    assert!(Command::new("mkfifo").arg(folder.join("pipe")).status().unwrap().success());
    let (_, findings) = load(&folder);
    let expected = [
        "main:1:9: error: `latin1` is not included: 2:11: the text is not UTF-8 from here on",
        "main:2:9: error: `folder` is not included: the file cannot be read: it is no file",
        "main:3:9: error: `pipe` is not included: the file cannot be read: it is no file",
        "main:4:9: error: `/dev/null` is not included: the file cannot be read: it is no file",
    ];
    assert_eq!(findings, expected);
}

#[test]
fn a_configuration_may_come_out_of_a_pipe_but_of_nothing_else_that_is_no_file() {
    let folder = folder("pipe");
    let main = folder.join("main");
    assert!(Command::new("mkfifo").arg(&main).status().unwrap().success());
    let write = |text: String| {
        let main = main.clone();
        thread::spawn(move || fs::write(main, text).unwrap())
    };
    // More than fits into it at once.
    let writer = write(format!("{}{}", "# a comment\n".repeat(100_000), instance("A", 1)));
    let (loaded, findings) = load(&folder);
    writer.join().unwrap();
    assert_eq!((names(&loaded), findings), (vec!["A"], vec![]));
    // Nothing is not what somebody has written.
    let writer = write(String::new());
    let (loaded, findings) = load(&folder);
    writer.join().unwrap();
    assert_eq!(findings, ["main:1:1: error: nothing has come out of the pipe"]);
    assert!(loaded.plan.is_none());
    for (path, problem) in [(&*folder, "it is no file"), (Path::new("/dev/zero"), "it is no file")] {
        let findings: Vec<_> = plan::load(path).findings.iter().map(ToString::to_string).collect();
        assert_eq!(findings, [format!("{}:1:1: error: the file cannot be read: {problem}", path.display())]);
    }
}

#[test]
fn patterns_look_at_a_bounded_number_of_files_all_together() {
    let folder = folder("patterns");
    for number in 0..100 {
        write(&folder, &format!("d{number}/x"), "");
    }
    let include = format!("include d*/*.conf\ninclude \"{}x\"\n", "{a}".repeat(1000));
    write(&folder, "main", &include.repeat(3000));
    let begun = Instant::now();
    let (loaded, findings) = load(&folder);
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert!(findings.len() < 2 * MOST_FINDINGS, "{}", findings.len());
    assert!(findings.iter().any(|finding| finding.ends_with("all patterns together look at too many files")));
    assert_eq!(loaded.findings.omitted() as usize + findings.len(), 6000);
}

/// Far more than it takes.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn files_that_include_each_other_end() {
    let folder = folder("cycle");
    write(&folder, "main", "include a\n");
    write(&folder, "a", "include b\n");
    write(&folder, "b", "include a\ninclude ./main\n");
    let (_, findings) = load(&folder);
    let expected = [
        "b:1:9: error: `a` is not included: it would include itself",
        "b:2:9: error: `./main` is not included: it would include itself",
    ];
    assert_eq!(findings, expected);

    // Each includes the next one twice: 2^30 files if nobody counted.
    for number in 0..30 {
        write(&folder, &format!("n{number}"), &format!("include n{0}\ninclude n{0}\n", number + 1));
    }
    write(&folder, "main", "include n0\n");
    let begun = Instant::now();
    let (_, findings) = load(&folder);
    assert!(begun.elapsed() < SOON);
    assert!(findings.iter().any(|finding| finding.contains("more than 16 deep")), "{findings:?}");

    for number in 0..15 {
        write(&folder, &format!("n{number}"), &format!("include n{0}\ninclude n{0}\n", number + 1));
    }
    write(&folder, "n15", "");
    let (loaded, findings) = load(&folder);
    assert!(findings.iter().any(|finding| finding.contains("more than 1000 files")));
    assert!(loaded.findings.count(Severity::Error) > 0);
}

#[test]
fn all_files_together_are_bounded() {
    let folder = folder("large");
    fs::write(folder.join("large"), vec![b'\n'; source::MOST_BYTES as usize - 100]).unwrap();
    write(&folder, "main", "include large\ninclude large\n");
    let (_, findings) = load(&folder);
    assert_eq!(findings, ["main:2:9: error: `large` is not included: all files together are larger than 16 MiB"]);
    fs::remove_dir_all(folder).unwrap();
}
