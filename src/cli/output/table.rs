//! Columns, as Docker's: Go's tabwriter with cells at least ten wide and three spaces between.

/// Lines of cells as text, the last cell of a line not padded.
pub(super) fn align(lines: &[Vec<String>]) -> String {
    let widths = widths(lines);
    let mut text = String::new();
    for line in lines {
        for (index, cell) in line.iter().enumerate() {
            text.push_str(cell);
            if index + 1 < line.len() {
                let width = widths.get(index).copied().unwrap_or_default();
                text.push_str(&" ".repeat(width.saturating_sub(cell.chars().count())));
            }
        }
        text.push('\n');
    }
    text
}

/// Of each column but the last of a line, its padding included.
fn widths(lines: &[Vec<String>]) -> Vec<usize> {
    let mut widths = Vec::new();
    for line in lines {
        let padded = line.len().saturating_sub(1);
        widths.resize(widths.len().max(padded), MIN_WIDTH);
        for (width, cell) in widths.iter_mut().zip(line.iter().take(padded)) {
            *width = (*width).max(cell.chars().count() + PADDING);
        }
    }
    widths
}

const MIN_WIDTH: usize = 10;
const PADDING: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let lines = [vec!["A", "B", "C"], vec!["a-long-name", "ü", ""], vec!["x"]];
        let lines = lines.map(|line| line.into_iter().map(str::to_owned).collect());
        assert_eq!(
            align(&lines),
            "A             B         C\na-long-name   ü         \nx\n"
        );
        assert_eq!(align(&[]), "");
    }
}
