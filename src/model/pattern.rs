//! Patterns of parameter names, as a shell has for files.

use std::str::Chars;

/// Whether a name fits a pattern: `*` stands for any characters, none included, `?` for exactly
/// one, and every other character for itself.
///
/// The whole name must fit. A dot is a character like any other, so `*` crosses it. There are no
/// escapes, since names of parameters have neither `*` nor `?`.
///
/// ```
/// use wgpu_optim::pattern::matches;
/// assert!(matches("*.bias", "layers.0.bias"));
/// assert!(matches("layers.?.weight", "layers.3.weight"));
/// assert!(!matches("*.bias", "bias_scale.weight"));
/// ```
///
/// It takes time of at most the product of both lengths, and no memory that grows with them.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (pattern.chars(), name.chars());
    // After the last star: the pattern there, and the part of the name that the star has not taken.
    let mut last_star: Option<(Chars<'_>, Chars<'_>)> = None;
    loop {
        let (mut pattern_rest, mut name_rest) = (pattern.clone(), name.clone());
        match (pattern_rest.next(), name_rest.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                last_star = Some((pattern_rest.clone(), name.clone()));
                pattern = pattern_rest;
            }
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
                (pattern, name) = (pattern_rest, name_rest);
            }
            // The last star takes one character more. Earlier ones need not: what they could give
            // it, it can take by itself.
            _ => {
                let Some((after, untaken)) = &mut last_star else { return false };
                if untaken.next().is_none() {
                    return false;
                }
                (pattern, name) = (after.clone(), untaken.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;
    use proptest::prelude::*;

    #[test]
    fn names_of_parameters() {
        for (pattern, name, expected) in [
            ("", "", true),
            ("", "w", false),
            ("w", "", false),
            ("*", "", true),
            ("?", "", false),
            ("**", "w", true),
            ("w1", "w1", true),
            ("w1", "w11", false),
            ("w?", "w1", true),
            ("w?", "w", false),
            ("*.bias", "layers.0.bias", true),
            ("*.bias", "layers.0.bias.scale", false),
            ("layers.*.weight", "layers.0.attention.weight", true),
            ("*norm*", "layers.0.layer_norm.weight", true),
            ("*a*b", "aab", true),
            ("*ab", "aab", true),
            ("a*a", "a", false),
            ("*a?c*", "xxabxaxcx", true),
            // A character is one, however many bytes it has.
            ("größe.?", "größe.β", true),
            ("??", "β", false),
            ("*β*", "αβγ", true),
            // Not special here.
            ("w[01]", "w0", false),
            ("w[01]", "w[01]", true),
            (r"w\*", r"w\1", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} and {name}");
        }
    }

    /// Would take until the end of time if every star tried every length.
    #[test]
    fn many_stars_are_no_trap() {
        let name = "a".repeat(5000);
        assert!(!matches(&("*a".repeat(50) + "*b"), &name));
        assert!(matches(&("*a".repeat(50) + "*"), &name));
    }

    /// The definition, word by word.
    fn oracle(pattern: &[char], name: &[char]) -> bool {
        match pattern {
            [] => name.is_empty(),
            ['*', rest @ ..] => (0..=name.len()).any(|taken| oracle(rest, &name[taken..])),
            [wanted, rest @ ..] => {
                name.first().is_some_and(|c| *wanted == '?' || wanted == c)
                    && oracle(rest, &name[1..])
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

        #[test]
        fn as_the_definition_says(pattern in "[aβ*?]{0,8}", name in "[aβ]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(matches(&pattern, &name), oracle(&chars(&pattern), &chars(&name)));
        }
    }
}
