//! [`difference`]: the lines in which two plays differ, as a listing for people and as what a script may state.

/// One line of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Compared {
    /// Both have it.
    Both(String),
    /// Only the reference has it.
    There(String),
    /// Only ours has it.
    Here(String),
}

impl Compared {
    /// The line with its mark; `None` for what both have.
    pub(crate) fn stated(&self) -> Option<String> {
        match self {
            Self::Both(_) => None,
            Self::There(line) => Some(format!("- {line}")),
            Self::Here(line) => Some(format!("+ {line}")),
        }
    }

    /// The line with its mark or two blanks.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Both(line) => format!("  {line}"),
            Self::There(_) | Self::Here(_) => self.stated().unwrap_or_default(),
        }
    }
}

/// Compares by the longest common subsequence.
pub(crate) fn difference(there: &[String], here: &[String]) -> Vec<Compared> {
    let (rows, columns) = (there.len(), here.len());
    let mut common = vec![vec![0_usize; columns + 1]; rows + 1];
    for row in (0..rows).rev() {
        for column in (0..columns).rev() {
            common[row][column] = if there[row] == here[column] {
                common[row + 1][column + 1] + 1
            } else {
                common[row + 1][column].max(common[row][column + 1])
            };
        }
    }
    let (mut row, mut column) = (0, 0);
    let mut compared = Vec::new();
    while row < rows || column < columns {
        if row < rows && column < columns && there[row] == here[column] {
            compared.push(Compared::Both(there[row].clone()));
            row += 1;
            column += 1;
        } else if column == columns || row < rows && common[row + 1][column] >= common[row][column + 1] {
            compared.push(Compared::There(there[row].clone()));
            row += 1;
        } else {
            compared.push(Compared::Here(here[column].clone()));
            column += 1;
        }
    }
    compared
}
