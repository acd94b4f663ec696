//! Small conditions over canonical fields, for feature buckets and known divergences: `value >= 8 and purse[0] > 0`.

use crate::record::View;

/// Comparisons joined by `and`.
#[derive(Debug, Clone, PartialEq)]
pub struct Predicate {
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq)]
struct Term {
    field: String,
    operator: Operator,
    number: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Predicate {
    /// Reads a condition.
    ///
    /// # Errors
    /// Names the part that is not `field operator number`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let terms = text.split(" and ").map(Term::parse).collect::<Result<_, _>>()?;
        Ok(Predicate { terms })
    }

    /// Whether it holds for the canonical part of a record; false where a field is absent.
    pub fn holds(&self, record: &View<'_>) -> bool {
        self.terms.iter().all(|term| {
            record.canonical_values().any(|(label, value)| label == term.field && term.holds(value.number()))
        })
    }
}

impl Term {
    fn parse(text: &str) -> Result<Self, String> {
        const OPERATORS: [(&str, Operator); 6] = [
            ("==", Operator::Equal),
            ("!=", Operator::NotEqual),
            ("<=", Operator::LessEqual),
            (">=", Operator::GreaterEqual),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        let parsed = OPERATORS.iter().find_map(|(sign, operator)| {
            let (field, number) = text.split_once(sign)?;
            Some(Term { field: field.trim().to_owned(), operator: *operator, number: number.trim().parse().ok()? })
        });
        parsed
            .filter(|term| !term.field.is_empty())
            .ok_or_else(|| format!("{:?} is not `field operator number`, as in `value >= 8`", text.trim()))
    }

    fn holds(&self, value: f64) -> bool {
        match self.operator {
            Operator::Equal => value == self.number,
            Operator::NotEqual => value != self.number,
            Operator::Less => value < self.number,
            Operator::LessEqual => value <= self.number,
            Operator::Greater => value > self.number,
            Operator::GreaterEqual => value >= self.number,
        }
    }
}
