//! Tests of `expect`: what reads, what prints, what holds.

use super::*;

#[track_caller]
fn check(text: &str, printed: &str, measured: &Operand, holds: bool) {
    let comparison: Comparison = text.parse().unwrap();
    assert_eq!(comparison.to_string(), printed);
    assert_eq!(printed.parse::<Comparison>().unwrap(), comparison);
    assert_eq!(comparison.holds(measured), holds, "{text} of {measured}");
}

fn word(text: &str) -> Operand {
    Operand::Word(text.into())
}

#[test]
fn comparisons_read_print_and_hold() {
    check("0", "0", &Operand::Number(0.0), true);
    check(">0", "> 0", &Operand::Number(0.0), false);
    check(" <=  5% ", "<= 5%", &Operand::Ratio(0.05), true);
    check("<= 7%", "<= 7%", &Operand::Ratio(0.070_1), false);
    check("< 20ms", "< 20ms", &Operand::Seconds(0.019), true);
    check("< 20ms", "< 20ms", &Operand::Seconds(0.02), false);
    check(">= 64KiB", ">= 64KiB", &Operand::Bytes(65_536.0), true);
    check("== true", "true", &Operand::Flag(true), true);
    check("!= refused", "!= refused", &word("timeout"), true);
    check("refused", "refused", &word("timeout"), false);
    check("!= 3", "!= 3", &Operand::Number(4.0), true);
    check("< 0.5", "< 0.5", &Operand::Ratio(0.25), true);
}

#[test]
fn every_operator_holds_on_its_side_of_the_bound_only() {
    let holds = |operator: &str| {
        let comparison: Comparison = format!("{operator} 2").parse().unwrap();
        [1.0, 2.0, 3.0].map(|number| comparison.holds(&Operand::Number(number)))
    };
    assert_eq!(holds("="), [false, true, false]);
    assert_eq!(holds("!="), [true, false, true]);
    assert_eq!(holds("<"), [true, false, false]);
    assert_eq!(holds("<="), [true, true, false]);
    assert_eq!(holds(">"), [false, false, true]);
    assert_eq!(holds(">="), [false, true, true]);
}

#[test]
fn values_of_different_sorts_never_hold() {
    for text in ["0", "!= 0", "true", "refused", "!= refused", "< 1s"] {
        let comparison: Comparison = text.parse().unwrap();
        let other = if comparison.operand.number().is_some() { word("x") } else { Operand::Number(1.0) };
        assert!(!comparison.holds(&other), "{text}");
        assert!(!comparison.holds(&Operand::Number(f64::NAN)), "{text}");
    }
}

#[test]
fn what_is_no_comparison_is_refused() {
    for text in [
        "",
        "<",
        "< ",
        "=< 5",
        "<< 5",
        "5 %%",
        "NaN",
        "-inf",
        "< true",
        ">= refused",
        "Refused",
        "5x",
        "a b",
        "-5ms",
    ] {
        assert!(text.parse::<Comparison>().is_err(), "{text}");
    }
}
