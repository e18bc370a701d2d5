//! What a text becomes, and what is said of the places in it. That keepalived makes the same of it is tested with all
//! of it together, in `tests/config_language.rs`.

use super::*;

fn expanded(text: &str) -> Expanded {
    expand(text, Problems::default(), &Context { id: "main", directory: &|_| "/etc/x".to_owned() })
}

/// The lines that something is left of.
fn lines(text: &str) -> Vec<String> {
    let expanded = expanded(text);
    let problems: Vec<_> = expanded.problems.list.iter().map(|problem| &problem.message).collect();
    assert!(problems.is_empty(), "{problems:?}");
    expanded.text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn problems(text: &str) -> Vec<String> {
    expanded(text).problems.list.into_iter().map(|problem| problem.message).collect()
}

#[test]
fn a_text_with_nothing_to_expand_is_left_alone() {
    assert!(!is_wanted("global_defs {\n notification_email { a@b }\n}\n"));
    for wanted in ["a $b", "\t@main x", "~SEQ(A,1,2) x", "x\n  @y"] {
        assert!(is_wanted(wanted), "{wanted}");
    }
}

#[test]
fn lines_for_one_of_several_machines() {
    let text = "a\n@main b\n@other c\n @^other d\n@^main e\n@ f\n@^ g\n@main @main h\n@main @other i\n@main\n";
    assert_eq!(lines(text), ["a", "b", "d", "g", "h"]);
}

#[test]
fn values_stand_in_the_place_of_their_names() {
    let text = "$A=alpha\n$E=\n  $C= with  space  # comment\n$Q=\"a # b\" # c\na_${A}_b $A $A.x ${E}\n$A_1 ${B} $1 $\n${C}!x\n$Q\n";
    assert_eq!(lines(text), ["a_alpha_b alpha alpha.x", "$A_1 ${B} $1 $", "with  space", "\"a # b\""]);
}

#[test]
fn values_are_put_in_when_they_are_used() {
    let text = "$BASE=10.2.${SUB}\n$SUB=0\n${BASE}.1\n$SUB=10\n${BASE}.1\n";
    assert_eq!(lines(text), ["10.2.0.1", "10.2.10.1"]);
}

#[test]
fn what_a_value_brings_to_the_beginning_of_a_line_is_read_there() {
    let text = "$MAIN=@main\n$OTHER=@other\n$MAIN a\n$OTHER b\n$S=~SEQ(I,1,2)\n$S c$I\n$D=$X=5\n$D\nx$X\n";
    assert_eq!(lines(text), ["a", "c1", "c2", "x5"]);
}

#[test]
fn a_definition_may_have_several_lines() {
    let text =
        "$M= \\\na_${N} { \\\n@main b \\\n@other c \\\n}\n$N=1\n$M\n$N=2\nx_$M y\n$F=f \\\ng\n$F\n$E= \\\n\n$E\nz\n";
    assert_eq!(lines(text), ["a_1 {", "b", "}", "x_a_2 {", "b", "} y", "f", "g", "z"]);
    // Those for another machine go with all their lines.
    assert_eq!(lines("@other $M= \\\na \\\nb\nc\n"), ["c"]);
}

#[test]
fn definitions_of_several_lines_nest() {
    let text = "$R= \\\nserver $N\n$V= \\\nservice { \\\n$N=1 \\\n$R \\\n$N=2 \\\n$R \\\n}\n$V\n";
    assert_eq!(lines(text), ["service {", "server 1", "server 2", "}"]);
}

#[test]
fn sequences_count() {
    for (text, expected) in [
        ("~SEQ(I,1,3) a$I", "a1 a2 a3"),
        ("~SEQ(I,3) ${I}", "1 2 3"),
        ("~SEQ(I,-2) ${I}", "-1 -2"),
        ("~SEQ(I,3,1) ${I}", "3 2 1"),
        ("~SEQ (I, 5,-2,1) ${I}", "5 3 1"),
        ("~SEQ(I,0x9,0x2,0xd) ${I}", "9 11 13"),
        ("~SEQx(I,144,16,192) ${I}", "90 a0 b0 c0"),
        ("~SEQ(I,1,2) ~SEQ(J,1,2) ${I}${J}", "11 12 21 22"),
        ("$N=2\n~SEQ(I,1,$N) $I\n~SEQ(I,1,${N}) $I", "1 2 1 2"),
        ("@main ~SEQ(I,1,2) $I", "1 2"),
        ("~SEQ(I,9223372036854775806,9223372036854775807) $I", "9223372036854775806 9223372036854775807"),
        ("~LST(L,a, b,c) $L", "a b c"),
        ("~LST({A,B},{1,2},{3,4},{5}) ${A}.${B}", "1.2 3.4 5."),
        ("~LST(L,a,b) ~SEQ(I,1,2) $L$I", "a1 a2 b1 b2"),
        ("$M= \\\n~SEQ(I,1,2) x$I \\\ny\n$M", "x1 x2 y"),
        ("~SEQ(I,1,2) $D$I=v$I\n$D1 $D2", "v1 v2"),
    ] {
        assert_eq!(lines(text).join(" "), expected, "{text}");
    }
}

#[test]
fn a_wrong_sequence_is_an_error_and_leaves_nothing() {
    for text in [
        "~SEQ(I) x",
        "~SEQ(I,0) x",
        "~SEQ(I,1,0,5) x",
        "~SEQ(I,1,-1,5) x",
        "~SEQ(I,08,10) x",
        "~SEQ(I,1,+-2) x",
        "~SEQ(1,1,2) x",
        "~SEQ(I,1,2 x",
        "~SEQ I,1,2 x",
        "~SEQ(I,1,99999999999999999999) x",
        "~SEQx(I,-1,2) x",
        "~LST(L) x",
        "~LST(L,a b) x",
        "~LST({A,B},{1,2,3}) x",
        "~LST({A,B},{1,2 x",
        "~NONE(1) x",
    ] {
        assert_eq!((problems(text).len(), expanded(text).text.trim()), (1, ""), "{text}");
    }
}

#[test]
fn some_values_are_always_there() {
    assert_eq!(lines("${_PWD}/a ${_INSTANCE} $_INSTANCE \"${_HASH}${_BANG}\""), ["/etc/x/a main main \"#!\""]);
    assert_eq!(lines("${_RANDOM 5 5} ${_RANDOM x} ${_NONE} ${_ENV}"), ["5 ${_RANDOM x} ${_NONE} ${_ENV}"]);
    let path = std::env::var("PATH").unwrap();
    assert_eq!(lines("${_ENV PATH} ${_ENV NO_SUCH_VARIABLE}"), [format!("{path} ${{_ENV NO_SUCH_VARIABLE}}")]);
    let numbers = "random_seed 7\n${_RANDOM} ${_RANDOM} ${_RANDOM 1 6}\n";
    assert_eq!(lines(numbers), lines(numbers));
    assert_ne!(lines("${_RANDOM}${_RANDOM}${_RANDOM}"), lines("${_RANDOM}${_RANDOM}${_RANDOM}"));
}

/// The places in the source that the words of the text have.
fn places(text: &str) -> Vec<String> {
    let expanded = expanded(text);
    let lines = super::super::Lines { steps: expanded.map, pieces: expanded.pieces, ..Default::default() };
    let mut places = Vec::new();
    for (number, line) in (1..).zip(expanded.text.lines()) {
        let mut column = 1;
        for word in line.split(' ') {
            if !word.is_empty() {
                places.push(format!("{word}@{}", lines.origin(Place { line: number, column }).1));
            }
            column += word.chars().count() as u32 + 1;
        }
    }
    places
}

#[test]
fn each_word_keeps_the_place_where_somebody_wrote_it() {
    assert_eq!(places("a b\n  @main c d\ne\n"), ["a@1:1", "b@1:3", "c@2:9", "d@2:11", "e@3:1"]);
    assert_eq!(places("$A=x y\nä ${A} b $A c\n"), ["ä@2:1", "x@2:3", "y@2:3", "b@2:8", "x@2:10", "y@2:10", "c@2:13"]);
    assert_eq!(
        places("$M= \\\n a ${N} b \\\n c d\n$N=long\nx\n$M\ny\n"),
        ["x@5:1", "a@2:2", "long@2:4", "b@2:9", "c@3:2", "d@3:4", "y@7:1"]
    );
    assert_eq!(places("~SEQ(I,1,2) a $I b\n"), ["a@1:13", "1@1:15", "b@1:18", "a@1:13", "2@1:15", "b@1:18"]);
    assert_eq!(places("$M= \\\na b \\\nc\nx_$M y\n"), ["x_a@4:1", "b@4:3", "c@4:3", "y@4:6"]);
}

#[test]
fn errors_have_the_place_where_somebody_wrote_them() {
    let expanded = expanded("$A=${A}\nx\n  y ${A}\n");
    let lines = super::super::Lines { steps: expanded.map, pieces: expanded.pieces, ..Default::default() };
    let [problem] = expanded.problems.list.as_slice() else { panic!("one problem") };
    assert_eq!(
        (lines.origin(problem.place).1, problem.message.as_str()),
        (Place { line: 3, column: 5 }, "the value of `A` names itself")
    );
}

#[test]
fn nothing_explodes() {
    let begun = std::time::Instant::now();
    let mut doubling = String::from("$A0=xxxxxxxxxxxxxxxx\n");
    for number in 0..30 {
        doubling += &format!("$A{}=${{A{number}}}${{A{number}}}\n", number + 1);
    }
    let empty = doubling.replace("xxxxxxxxxxxxxxxx", "");
    let nested = (0..20).map(|number| format!("$M{number}= \\\n$M{0} \\\n$M{0}\n", number + 1)).collect::<String>();
    let forever = "$M= \\\n$M \\\n$M\n";
    for text in [
        &format!("{doubling}$A30\nafter\n"),
        &format!("{empty}$A30\nafter\n"),
        &format!("{nested}$M20= \\\n\n$M0\nafter\n"),
        &format!("{forever}$M\nafter\n"),
        "~SEQ(I,1,9000000000000000000) x\nafter\n",
        "~SEQ(I,1,100000) ~SEQ(J,1,100000) $X=1\nafter\n",
        "~SEQ(I,1,100000) ~SEQ(J,1,100000) @other x\nafter\n",
    ] {
        let expanded = expanded(text);
        let [problem] = expanded.problems.list.as_slice() else { panic!("one problem") };
        assert!(problem.message.starts_with("nothing of the file is read"), "{}", problem.message);
        assert_eq!(expanded.text, "\n");
    }
    assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[test]
fn any_text_is_taken() {
    for text in [
        "",
        "\n",
        "$",
        "${",
        "@",
        "~",
        "~SEQ",
        "~SEQ(",
        "~LST({",
        "$A=\\",
        "$A= \\",
        "@^",
        "@x $A= \\\n",
        "\u{e4}$\u{e4}",
        "${_ENV ${_ENV }}",
    ] {
        let _ = expanded(text);
    }
}
