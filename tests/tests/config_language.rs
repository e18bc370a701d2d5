//! Lines for one of several machines, definitions and sequences in whole files: that keepalived reads the same words out
//! of them, that what is said names the place that somebody has written, and that they work together with `include`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use steadfast_core::config::Severity;
use steadfast_linux::plan::{self, Loaded, Reading};

/// A text of which keepalived makes the same: each line ends up as a keyword that nobody knows, and is named in what is
/// said of it.
const SAME: &str = r#"
$A=alpha
$B=be${A}ta
$E=
w1_${A}_x 1
w2_$A
w3$A x
$A_w4
w5_${B}
w8_${E}z
  $C=with space and more   # comment
w9_${C}
@main w10
@^main w11
@host12 w12
@^ w14
$M= \
m1_${N} a \
m2_${N} b \

m3
$N=7
$M
$N=8
$M
x_$M
~SEQ(S,1,3) s1_${S}
~SEQ(S2,0x90,0x10,0xc0) s2_${S2}
~SEQx(S3,144,16,192) s3_${S3}
~SEQ(S4,3) s4_${S4}
~SEQ(S5,-2) s5_${S5}
~SEQ(S6,3,1) s6_${S6}
~LST({P,Q}, {1,2},{3,4}) l2_${P}_${Q}
~SEQ(I,1,2) ~SEQ(J,1,2) n_${I}${J}
~SEQ (K2,1,2) n3_${K2}
$F=foo \
w16
w17_${F}
w18\
w19
w21_${_PWD}
w22_${_INSTANCE}
w23_${_RANDOM 5 5}
"w26 ${A}" x
@main $G= \
g1 \
g2
g3_${G}
$A =5
 $H=1
w29_${H}${A}${H}
w32_\${A}
$V=$W
$W=5
e_$V
$R= \
r_${X} \
$X=2 \
r_${X}
$X=1
$R
$O= \
o1 \
$R \
o2
$O
~SEQ(T,5,-2,1) t_$T
~LST(U, a,b) u_$U
~LST(U2,a, b,c) u2_${U2}
$P1=one # two
p_${P1}x
f_${N}${N}_$N
~SEQx(B2,9,12) h2_$B2
$1A=5
@^other k3
	@main	k4
  ~SEQ(Z,1,2) l_$Z
"#;

/// A file of one test's own, in an otherwise empty folder.
fn written(name: &str, text: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("language-{name}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let path = fs::canonicalize(folder).unwrap().join("main");
    fs::write(&path, text).unwrap();
    path
}

fn load(path: &Path) -> (Loaded, Vec<String>) {
    let reading = Reading { config_id: Some("main".into()), ..Reading::default() };
    let loaded = plan::load_as(path, &reading);
    let prefix = format!("{}/", path.parent().unwrap().display());
    let findings = loaded.findings.iter().map(|finding| finding.to_string().replace(&prefix, "")).collect();
    (loaded, findings)
}

/// The words that somebody calls unknown, each once, in the order in which they are first named.
fn unknown<'a>(lines: impl Iterator<Item = &'a str>, begin: &str, end: char) -> Vec<String> {
    let mut words = Vec::new();
    for line in lines {
        let Some((_, word)) = line.split_once(begin) else { continue };
        let word = word.rsplit_once(end).map_or(word, |(word, _)| word).to_owned();
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words
}

#[test]
fn keepalived_reads_the_same_words() {
    let path = written("same", SAME);
    let theirs = Command::new("keepalived")
        .args(["-t", "-i", "main", "-f"])
        .arg(&path)
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .output();
    let Ok(theirs) = theirs else { return println!("skipped: keepalived is not installed") };
    let theirs = String::from_utf8_lossy(&theirs.stderr).into_owned();
    // Each of its processes reads the file anew, and each names what it has found so far of a line.
    let mut theirs = unknown(theirs.lines(), "Unknown keyword '", '\'');
    let (_, ours) = load(&path);
    let ours: Vec<String> = ours.iter().map(|line| line.split("; did you mean").next().unwrap().to_owned()).collect();
    let mut ours = unknown(ours.iter().map(String::as_str), "unknown keyword `", '`');
    // What stands behind `=` may be a secret: we do not name it.
    theirs.iter_mut().for_each(|word| word.truncate(word.find('=').unwrap_or(word.len())));
    theirs.sort();
    ours.sort();
    assert!(ours.len() > 70, "{ours:?}");
    assert_eq!(ours, theirs);
}

#[test]
fn one_file_for_two_machines_has_a_plan_for_each() {
    let text = "@main $PRIORITY=240\n@backup $PRIORITY=200\n$INSTANCE= \\\nvrrp_instance VI_${NUM} { \\\n interface lan${NUM} \\\n \
                virtual_router_id ${NUM} \\\n priority $PRIORITY \\\n @main mcast_src_ip 192.0.2.250 \\\n virtual_ipaddress { \\\n  \
                192.0.${NUM}.1/24 \\\n } \\\n}\n~SEQ(NUM,1,3) $INSTANCE\n";
    let path = written("two", text);
    for (id, priority) in [("main", 240), ("backup", 200)] {
        let loaded = plan::load_as(&path, &Reading { config_id: Some(id.into()), ..Reading::default() });
        assert_eq!(loaded.findings.iter().map(ToString::to_string).collect::<Vec<_>>(), [""; 0]);
        let routers = loaded.plan.unwrap().routers;
        let names: Vec<_> = routers.iter().map(|router| (router.name.as_str(), router.interface.as_str())).collect();
        assert_eq!(names, [("VI_1", "lan1"), ("VI_2", "lan2"), ("VI_3", "lan3")]);
        for router in routers {
            assert_eq!(router.settings.priority.get(), priority);
            assert_eq!(router.settings.source.is_some(), id == "main");
        }
    }
}

#[test]
fn the_command_line_names_a_namespace_before_the_file_does() {
    let path = written("namespace", "net_namespace blue\n");
    for (given, expected) in [(None, "blue"), (Some("red"), "red")] {
        let loaded = plan::load_as(&path, &Reading { namespace: given.map(str::to_owned), ..Reading::default() });
        assert_eq!(loaded.plan.unwrap().namespace.as_deref(), Some(expected));
    }
}

#[test]
fn what_is_said_names_the_place_that_somebody_wrote() {
    let instance = "vrrp_instance A {\n interface lan0\n virtual_router_id 1\n @main priority $HIGH\n virtual_ipaddress { 192.0.2.1 }\n}\n";
    let path = written("places", &format!("$HIGH=300\ninclude more\n{instance}~SEQ(I,1,3) nonsense_$I\n"));
    fs::write(
        path.with_file_name("more"),
        "$M= \\\nglobal_defs { \\\n  rooter_id ${NAME} \\\n}\n\n$NAME=a\n$M\n$NAME=b\n$M\n",
    )
    .unwrap();
    let (_, findings) = load(&path);
    let expected = [
        "more:3:3: warning: unknown keyword `rooter_id`; did you mean `router_id`?",
        "main:6:17: warning: `priority` wants a number from 1 to 255, not `300`; 100 is used",
        "main:9:13: warning: unknown keyword `nonsense_1`; it has no effect",
        "main:9:13: warning: unknown keyword `nonsense_2`; it has no effect",
        "main:9:13: warning: unknown keyword `nonsense_3`; it has no effect",
    ];
    assert_eq!(findings, expected);
}

#[test]
fn what_stands_in_a_definition_is_said_once_however_often_it_is_used() {
    let text = "$M= \\\nvrrp_sync_group G${I} { \\\nbroken \\\ngroup { \\\n} \\\n}\n~SEQ(I,1,500) $M\n";
    let (loaded, findings) = load(&written("once", text));
    let broken = findings.iter().filter(|finding| finding.contains("`broken`")).collect::<Vec<_>>();
    assert_eq!(broken, ["main:3:1: warning: unknown keyword `broken`; it has no effect"]);
    assert_eq!(loaded.findings.count(Severity::Warning), 2);
}

#[test]
fn a_file_is_looked_for_before_anything_is_put_into_its_line() {
    let (loaded, findings) = load(&written("include", "$F=more\ninclude $F\n@main include more\n"));
    let problem = "error: nothing is included: a file is looked for before anything is put into its line";
    assert_eq!(findings[1], format!("main:3:7: {problem}"));
    assert_eq!(findings[0], "main:2:9: error: `$F` is not included: there is no such file");
    assert!(loaded.findings.has_errors());
}

#[test]
fn a_text_that_would_explode_is_an_error_and_changes_nothing() {
    let (loaded, findings) = load(&written("explode", "x\n~SEQ(I,1,100000000) ~SEQ(J,1,100000000) x\n"));
    let expected = "main:2:1: error: nothing of the file is read: `$`, `~SEQ` and the like would make more of it than 16 MiB or \
         500000 lines";
    assert_eq!(findings, [expected]);
    assert!(loaded.findings.has_errors() && loaded.plan.unwrap().is_empty());
}

/// Far more than an unoptimized build takes on a busy machine, far less than a quadratic one would.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn lines_of_megabytes_take_bounded_time() {
    let huge = 1 << 20;
    let values = format!("$A=b\n{}\n", "$A ".repeat(huge));
    let nothing = format!("{}\n", "$A ".repeat(huge));
    let braces = format!("$A=b\n{}\n", "${ ".repeat(huge));
    let conditions = format!("{}x\n", "@^nobody ".repeat(huge));
    let quotes = format!("{}$A\n", "'\"".repeat(huge));
    let folders = format!("{}\n", "${_PWD} ".repeat(huge));
    for (number, text) in [values, nothing, braces, conditions, quotes, folders].iter().enumerate() {
        let begun = Instant::now();
        let (_, findings) = load(&written(&format!("line-{number}"), text));
        assert!(begun.elapsed() < SOON, "{:?} for {:?}...", begun.elapsed(), &text[..20]);
        assert!(findings.iter().any(|finding| finding.contains("error: ")), "{findings:?} for {:?}...", &text[..20]);
    }
}
