//! The name that is nearest to another, for messages.

/// The nearest of these names, if one is near: at most a third of its letters differ.
pub(super) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    // Comparing thousands of long names would take longer than loading does.
    const MOST: usize = 1000;
    let distances = known.iter().take(MOST).map(|known| (distance(name, known), *known));
    let (distance, nearest) = distances.min()?;
    (3 * distance <= name.chars().count()).then_some(nearest)
}

/// How many letters are to be changed, added or removed (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<_> = b.chars().collect();
    let mut row: Vec<_> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, &y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found() {
        assert_eq!(distance("kitten", "sitting"), 3);
        let known = ["layer.0.weight", "layer.0.bias"];
        assert_eq!(nearest("layers.0.weight", &known), Some("layer.0.weight"));
        assert_eq!(nearest("head", &known), None);
    }
}
