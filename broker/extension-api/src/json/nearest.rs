//! The nearest of some known words to one that is not known.

/// The known word that takes the fewest edits, if it takes few enough to have been meant.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let (distance, best) = known
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .min()?;
    (distance <= best.len() / 2).then_some(best)
}

/// Edits of one byte between two words.
fn distance(left: &str, right: &str) -> usize {
    let right = right.as_bytes();
    // What is longer than any known word is far from all of them.
    if left.len() > 64 {
        return left.len();
    }
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, byte) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (at, other) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(byte != *other);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_nonsense_is_not() {
        let known = ["max_attempts", "max_len", "visibility", "order"];
        assert_eq!(nearest("max_attempt", &known), Some("max_attempts"));
        assert_eq!(nearest("maxlen", &known), Some("max_len"));
        assert_eq!(nearest("oder", &known), Some("order"));
        assert_eq!(nearest("zzzzzzzzz", &known), None);
        assert_eq!(nearest(&"order".repeat(100), &known), None);
    }
}
