//! Arithmetic over names, for pictures: `height - ball_y - 32 / 2`.
//!
//! There is nothing else on purpose: no functions, no comparison, no assignment. A picture that needs more shows a state
//! that should have a field for it.

use std::fmt;

/// An expression is not longer than this, so that reading it can't exhaust the stack.
const LENGTH_MAX: usize = 200;

/// A number that depends on named values.
#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    /// A number.
    Number(f64),
    /// A field, an option or a constant.
    Name(String),
    /// Two operands and one of `+ - * /`.
    Operation(char, Box<Expression>, Box<Expression>),
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// Says what was found where a number, a name or an operator was due.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LENGTH_MAX {
            return Err(format!("an expression has {} characters, more than {LENGTH_MAX}", text.len()));
        }
        let mut parser = Parser { text, rest: text };
        let expression = parser.sum()?;
        match parser.peek() {
            None => Ok(expression),
            Some(found) => Err(parser.unexpected("an operator", Some(found))),
        }
    }

    /// Its value; `None` if a name is not known.
    pub fn value(&self, lookup: &dyn Fn(&str) -> Option<f64>) -> Option<f64> {
        Some(match self {
            Expression::Number(number) => *number,
            Expression::Name(name) => lookup(name)?,
            Expression::Operation(operator, left, right) => {
                let (left, right) = (left.value(lookup)?, right.value(lookup)?);
                match operator {
                    '+' => left + right,
                    '-' => left - right,
                    '*' => left * right,
                    _ => left / right,
                }
            }
        })
    }

    /// The names in it.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Expression::Number(_) => Vec::new(),
            Expression::Name(name) => vec![name],
            Expression::Operation(_, left, right) => [left.names(), right.names()].concat(),
        }
    }

    /// The name, if it is nothing but one.
    pub fn as_name(&self) -> Option<&str> {
        if let Expression::Name(name) = self { Some(name) } else { None }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expression::Number(number) => write!(f, "{number}"),
            Expression::Name(name) => f.write_str(name),
            Expression::Operation(operator, left, right) => write!(f, "({left} {operator} {right})"),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn sum(&mut self) -> Result<Expression, String> {
        let mut left = self.product()?;
        while let Some(operator @ ('+' | '-')) = self.peek() {
            self.skip();
            left = Expression::Operation(operator, Box::new(left), Box::new(self.product()?));
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Expression, String> {
        let mut left = self.operand()?;
        while let Some(operator @ ('*' | '/')) = self.peek() {
            self.skip();
            left = Expression::Operation(operator, Box::new(left), Box::new(self.operand()?));
        }
        Ok(left)
    }

    fn operand(&mut self) -> Result<Expression, String> {
        match self.peek() {
            Some('(') => {
                self.skip();
                let inner = self.sum()?;
                match self.peek() {
                    Some(')') => self.skip(),
                    found => return Err(self.unexpected("a )", found)),
                }
                Ok(inner)
            }
            Some('-') => {
                self.skip();
                Ok(Expression::Operation('-', Box::new(Expression::Number(0.0)), Box::new(self.operand()?)))
            }
            Some('0'..='9' | '.') => {
                let word = self.take(|c| c.is_ascii_digit() || c == '.');
                word.parse().map(Expression::Number).map_err(|_| format!("{word:?} in {:?} is no number", self.text))
            }
            Some('a'..='z' | 'A'..='Z' | '_') => {
                let place = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '[' | ']');
                Ok(Expression::Name(self.take(place).to_owned()))
            }
            found => Err(self.unexpected("a number or a name", found)),
        }
    }

    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    fn skip(&mut self) {
        let mut chars = self.rest.chars();
        chars.next();
        self.rest = chars.as_str();
    }

    fn take(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn unexpected(&self, due: &str, found: Option<char>) -> String {
        match found {
            Some(found) => format!("{:?} has {found:?} where {due} is due", self.text),
            None => format!("{:?} ends where {due} is due", self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Option<f64> {
        Expression::parse(text).expect(text).value(&|name| match name {
            "height" => Some(640.0),
            "purse[1]" => Some(3.0),
            _ => None,
        })
    }

    #[test]
    fn expressions_are_read_as_in_school() {
        assert_eq!(value("2 + 3 * 4 - 6 / 2 / 3"), Some(13.0));
        assert_eq!(value("(2 + 3) * -(4 - 6)"), Some(10.0));
        assert_eq!(value("height - purse[1]*.5"), Some(638.5));
        assert_eq!(value("height / unknown"), None);
        assert_eq!(value("1 / 0"), Some(f64::INFINITY));
    }

    #[test]
    fn what_is_no_expression_is_refused_with_a_reason() {
        let deep = "(".repeat(1_000_000);
        for text in
            ["", "1 +", "* 2", "(1", "1)", "1 2", "1.2.3", "a b", "f(x)", "1; 2", "\"x\"", "<script>", "é", &deep]
        {
            assert!(Expression::parse(text).is_err(), "{text:?}");
        }
    }
}
