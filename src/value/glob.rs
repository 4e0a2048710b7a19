//! Names with wildcards: `*` for any characters, `?` for one. Not a path glob: nothing else is special.

/// Whether a name fits a pattern. Backtracks to the last `*` only: time is at most the product of both lengths.
pub fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut here, mut star) = (0, 0, None);
    while here < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, here));
                at += 1;
            }
            Some(c) if *c == '?' || *c == name[here] => (at, here) = (at + 1, here + 1),
            _ => match star {
                // The star takes one character more, and what follows it is tried again.
                Some((star_at, taken)) => {
                    star = Some((star_at, taken + 1));
                    (at, here) = (star_at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn wildcards_stand_for_what_they_say() {
        let cases = [
            ("eth0", "eth0", true),
            ("eth*", "eth", true),
            ("eth?", "eth", false),
            ("*a*b", "xaxxab", true),
            ("*a*b", "xaxxac", false),
            ("", "", true),
            ("*", "", true),
            ("?", "é", true),
        ];
        for (pattern, name, wanted) in cases {
            assert_eq!(fits(pattern, name), wanted, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_cost_no_time() {
        assert!(!fits(&"*a".repeat(100), &"a".repeat(5000).replace("aaaaa", "ab")));
    }
}
