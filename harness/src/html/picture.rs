//! Draws a state: the `[picture]` of a manifest, evaluated to SVG.
//!
//! A shape that can't be drawn (a field that this configuration lacks, a NaN, a division by zero) is left out, and the
//! page says which: a state that is wrong must still be shown as far as it goes.

use super::escape::escape_short;
use super::expression::Expression;
use crate::manifest::{Amount, Configuration, PictureTable, ShapeTable, Value};
use crate::predicate::Predicate;
use crate::record::Record;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Coordinates are held within this, so that no value makes an SVG that a browser chokes on.
const COORDINATE_MAX: f64 = 100_000.0;

/// A picture that was parsed and checked.
#[derive(Debug, Clone)]
pub struct Picture {
    width: Expression,
    height: Expression,
    constants: BTreeMap<String, f64>,
    shapes: Vec<Shape>,
}

#[derive(Debug, Clone)]
struct Shape {
    kind: Kind,
    /// In the order of [`Kind::amounts`].
    amounts: Vec<Expression>,
    text: Vec<Piece>,
    tone: String,
    when: Option<Predicate>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rect,
    Circle,
    Line,
    Text,
    Bar,
}

#[derive(Debug, Clone)]
enum Piece {
    Literal(String),
    Value(Expression),
}

/// What was drawn of one state.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Drawing {
    width: f64,
    height: f64,
    /// One for each shape of the picture; `None` where it is not shown.
    shapes: Vec<Option<String>>,
    /// Shapes that could not be drawn, and why.
    pub missing: Vec<String>,
}

impl Picture {
    /// Parses a picture, and checks that each name in it is known to at least one configuration.
    ///
    /// # Errors
    /// Names the shape and what is wrong with it.
    pub fn check(table: &PictureTable, configurations: &[Configuration]) -> Result<(), String> {
        let picture = Picture::parse(table)?;
        let known = |name: &str| {
            table.constants.contains_key(name)
                || configurations.iter().any(|configuration| {
                    configuration.options.get(name).is_some_and(|value| value.as_f64().is_some())
                        || configuration
                            .canonical
                            .iter()
                            .any(|field| (0..field.count().min(4096)).any(|index| field.label(index) == name))
                })
        };
        let pieces = |shape: &Shape| {
            let texts = shape.text.iter().filter_map(|piece| match piece {
                Piece::Value(expression) => Some(expression.clone()),
                Piece::Literal(_) => None,
            });
            shape.amounts.iter().cloned().chain(texts).collect::<Vec<_>>()
        };
        let all = [picture.width.clone(), picture.height.clone()].into_iter();
        let unknown = all
            .chain(picture.shapes.iter().flat_map(pieces))
            .flat_map(|expression| expression.names().into_iter().map(str::to_owned).collect::<Vec<_>>())
            .find(|name| !known(name));
        match unknown {
            Some(name) => Err(format!(
                "[picture]: {name} is neither a canonical field nor a numeric option nor one of the constants"
            )),
            None => Ok(()),
        }
    }

    /// The picture of a manifest that was checked.
    pub fn of(table: &PictureTable) -> Option<Self> {
        Picture::parse(table).ok()
    }

    fn parse(table: &PictureTable) -> Result<Self, String> {
        let shapes = table.shape.iter().enumerate().map(|(index, shape)| {
            Shape::parse(shape).map_err(|error| format!("[picture]: shape {} ({}): {error}", index + 1, shape.kind))
        });
        let amount = |what: &Amount| expression(what).map_err(|error| format!("[picture]: {error}"));
        Ok(Picture {
            width: amount(&table.width)?,
            height: amount(&table.height)?,
            constants: table.constants.clone(),
            shapes: shapes.collect::<Result<_, _>>()?,
        })
    }

    /// Draws the canonical part of a record.
    pub fn draw(&self, configuration: &Configuration, record: &Record) -> Drawing {
        let fields: BTreeMap<String, Value> = record.view(configuration).canonical_values().collect();
        let lookup = |name: &str| {
            let field = fields.get(name).map(|value| value.number());
            field
                .or_else(|| configuration.options.get(name).and_then(serde_json::Value::as_f64))
                .or_else(|| self.constants.get(name).copied())
        };
        let size = |expression: &Expression| {
            let value = expression.value(&lookup).filter(|value| value.is_finite());
            value.unwrap_or(100.0).clamp(1.0, COORDINATE_MAX)
        };
        let mut drawing =
            Drawing { width: size(&self.width), height: size(&self.height), shapes: Vec::new(), missing: Vec::new() };
        for shape in &self.shapes {
            let shown = shape.when.as_ref().is_none_or(|when| when.holds(&record.view(configuration)));
            let drawn = if shown { shape.draw(&lookup, &fields) } else { Ok(None) };
            match drawn {
                Ok(drawn) => drawing.shapes.push(drawn),
                Err(reason) => {
                    drawing.shapes.push(None);
                    drawing.missing.push(reason);
                }
            }
        }
        drawing
    }
}

impl Drawing {
    /// As an SVG. Where `other` has a shape elsewhere, this one is marked and the other's stands behind it, dashed.
    pub fn to_svg(&self, other: Option<&Drawing>, label: &str) -> String {
        let mut svg = format!(
            "<svg class=\"picture\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">",
            number(self.width),
            number(self.height),
            escape_short(label)
        );
        for (index, shape) in self.shapes.iter().enumerate() {
            let theirs = other.map(|other| other.shapes.get(index).cloned().flatten());
            match (shape, theirs) {
                (Some(shape), Some(theirs)) if theirs.as_ref() != Some(shape) => {
                    let ghost = theirs.map(|shape| format!("<g class=\"ghost\">{shape}</g>")).unwrap_or_default();
                    let _ = write!(svg, "{ghost}<g class=\"differs\">{shape}</g>");
                }
                (None, Some(Some(theirs))) => {
                    let _ = write!(svg, "<g class=\"ghost\">{theirs}</g>");
                }
                (Some(shape), _) => svg.push_str(shape),
                (None, _) => {}
            }
        }
        svg + "</svg>"
    }
}

impl Kind {
    fn named(name: &str) -> Option<Self> {
        let kinds = [Kind::Rect, Kind::Circle, Kind::Line, Kind::Text, Kind::Bar];
        kinds
            .into_iter()
            .zip(["rect", "circle", "line", "text", "bar"])
            .find(|(_, known)| *known == name)
            .map(|it| it.0)
    }

    fn amounts(self) -> &'static [&'static str] {
        match self {
            Kind::Rect => &["x", "y", "width", "height"],
            Kind::Circle => &["x", "y", "radius"],
            Kind::Line => &["x", "y", "x2", "y2"],
            Kind::Text => &["x", "y", "size"],
            Kind::Bar => &["x", "y", "width", "height", "value", "limit"],
        }
    }
}

impl Shape {
    fn parse(table: &ShapeTable) -> Result<Self, String> {
        let kind = Kind::named(&table.kind).ok_or("its kind is none of rect, circle, line, text, bar")?;
        let given = [
            ("x", Some(&table.x)),
            ("y", Some(&table.y)),
            ("width", table.width.as_ref()),
            ("height", table.height.as_ref()),
            ("radius", table.radius.as_ref()),
            ("x2", table.x2.as_ref()),
            ("y2", table.y2.as_ref()),
            ("size", table.size.as_ref()),
            ("value", table.value.as_ref()),
            ("limit", table.limit.as_ref()),
        ];
        if let Some((name, _)) = given.iter().find(|(name, amount)| amount.is_some() && !kind.amounts().contains(name))
        {
            return Err(format!("it has a {name}, which it has no use for"));
        }
        let amounts = kind.amounts().iter().map(|wanted| {
            let amount = given.iter().find(|(name, _)| name == wanted).and_then(|(_, amount)| *amount);
            let amount = amount.ok_or_else(|| format!("it has no {wanted}"))?;
            expression(amount).map_err(|error| format!("{wanted}: {error}"))
        });
        let amounts = amounts.collect::<Result<_, String>>()?;
        let text = match (&table.text, kind) {
            (Some(text), Kind::Text) => pieces(text)?,
            (None, Kind::Text) => return Err("it has no text".into()),
            (Some(_), _) => return Err("it has a text, which it has no use for".into()),
            (None, _) => Vec::new(),
        };
        let tone = table.tone.clone().unwrap_or_else(|| "ink".into());
        if !["ink", "soft", "faint", "outline"].contains(&tone.as_str()) {
            return Err(format!("its tone {tone:?} is none of ink, soft, faint, outline"));
        }
        let when = table.when.as_deref().map(Predicate::parse).transpose().map_err(|error| format!("when: {error}"))?;
        Ok(Shape { kind, amounts, text, tone, when })
    }

    /// Its SVG; `None` if a name is not known in this configuration; an error if a number can't be drawn.
    fn draw(
        &self,
        lookup: &dyn Fn(&str) -> Option<f64>,
        fields: &BTreeMap<String, Value>,
    ) -> Result<Option<String>, String> {
        let mut values = Vec::with_capacity(self.amounts.len());
        for (name, expression) in self.kind.amounts().iter().zip(&self.amounts) {
            let Some(value) = expression.value(lookup) else { return Ok(None) };
            if !value.is_finite() {
                return Err(format!("{name} of a shape, {expression}, is {value}"));
            }
            values.push(value);
        }
        let [x, y, ..] = values[..] else { return Ok(None) };
        let [x_text, y_text] = [number(x), number(y)];
        let rest: Vec<String> = values.iter().skip(2).map(|value| number(*value)).collect();
        let class = &self.tone;
        // A negative size is an error in SVG; what is that wrong is drawn as nothing and stands in the table.
        let size = |value: f64| number(value.max(0.0));
        Ok(Some(match self.kind {
            Kind::Rect => rect(class, x, y, values[2], values[3]),
            Kind::Circle => {
                format!("<circle class=\"{class}\" cx=\"{x_text}\" cy=\"{y_text}\" r=\"{}\"/>", size(values[2]))
            }
            Kind::Line => format!(
                "<line class=\"{class}\" x1=\"{x_text}\" y1=\"{y_text}\" x2=\"{}\" y2=\"{}\"/>",
                rest[0], rest[1]
            ),
            Kind::Text => {
                let mut text = String::new();
                for piece in &self.text {
                    match piece {
                        Piece::Literal(literal) => text.push_str(literal),
                        Piece::Value(expression) => {
                            let field = expression.as_name().and_then(|name| fields.get(name));
                            let Some(value) = expression.value(lookup) else { return Ok(None) };
                            text += &field.map_or_else(|| number(value), Value::to_string);
                        }
                    }
                }
                format!(
                    "<text class=\"{class}\" x=\"{x_text}\" y=\"{y_text}\" font-size=\"{}\">{}</text>",
                    size(values[2]),
                    escape_short(&text)
                )
            }
            Kind::Bar => {
                let share = if values[5] == 0.0 { 0.0 } else { (values[4] / values[5]).clamp(0.0, 1.0) };
                rect("track", x, y, values[2], values[3]) + &rect(class, x, y, values[2] * share, values[3])
            }
        }))
    }
}

fn rect(class: &str, x: f64, y: f64, width: f64, height: f64) -> String {
    let [x, y, width, height] = [number(x), number(y), number(width.max(0.0)), number(height.max(0.0))];
    format!("<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>")
}

fn expression(amount: &Amount) -> Result<Expression, String> {
    match amount {
        Amount::Number(number) => Ok(Expression::Number(*number)),
        Amount::Expression(text) => Expression::parse(text),
    }
}

fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((literal, tail)) = rest.split_once('{') {
        let (inner, tail) = tail.split_once('}').ok_or_else(|| format!("text {text:?} has a {{ without a }}"))?;
        pieces.push(Piece::Literal(literal.to_owned()));
        pieces.push(Piece::Value(Expression::parse(inner).map_err(|error| format!("text: {error}"))?));
        rest = tail;
    }
    pieces.push(Piece::Literal(rest.to_owned()));
    Ok(pieces)
}

/// A number as short as a picture needs it.
fn number(value: f64) -> String {
    let value = (value.clamp(-COORDINATE_MAX, COORDINATE_MAX) * 1000.0).round() / 1000.0;
    // Adding 0 turns -0 into 0.
    (value + 0.0).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifest;
    use std::path::Path;

    fn text(environment: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../envs").join(environment).join("env.toml");
        std::fs::read_to_string(path).expect("the environment is there")
    }

    fn drawn(manifest: &Manifest, configuration: &str, values: &[[u8; 4]]) -> Drawing {
        let configuration = manifest.configuration(configuration).expect("it is there");
        let record = Record {
            kind: lockstep_core::HEAD_STEP,
            terminated: false,
            truncated: false,
            deciders: 1,
            draws: vec![],
            rows: None,
            canonical: values.concat(),
            masks: vec![],
            observations: vec![],
            rewards: vec![],
            state_form: false,
        };
        let table = manifest.file.picture.as_ref().expect("it has a picture");
        Picture::of(table).expect("it was checked").draw(configuration, &record)
    }

    #[test]
    fn picture_of_pong_has_y_pointing_up_and_takes_options_before_constants() {
        let manifest = Manifest::parse(&text("pong")).expect("it is valid");
        let mut values = [[0; 4]; 12];
        for (place, value) in [(0, 285.0f32), (1, 300.0), (2, 484.0), (3, 100.0)] {
            values[place] = value.to_le_bytes();
        }
        values[7] = 3u32.to_le_bytes();
        let svg = drawn(&manifest, "default", &values).to_svg(None, "x");
        assert!(svg.contains("viewBox=\"0 0 620 640\""), "{svg}");
        assert!(svg.contains("x=\"544\" y=\"508\" width=\"32\" height=\"32\""), "{svg}");
        assert!(svg.contains(">3</text>"), "{svg}");
        let svg = drawn(&manifest, "odd", &values).to_svg(None, "x");
        assert!(svg.contains("viewBox=\"0 0 389 407.5\""), "{svg}");
        values[3] = f32::NAN.to_le_bytes();
        let drawing = drawn(&manifest, "default", &values);
        assert_eq!(drawing.missing, ["y of a shape, ((height - ball_y) - ball_height), is NaN"]);
    }

    #[test]
    fn picture_marks_what_another_drawing_has_elsewhere() {
        let manifest = Manifest::parse(&text("counter")).expect("it is valid");
        let [ours, theirs] = [3u32, 5].map(|value| {
            let values = [value, 1, 0, 0, 1, 0].map(u32::to_le_bytes);
            drawn(&manifest, "default", &values)
        });
        let svg = ours.to_svg(Some(&theirs), "\"<x>");
        assert!(svg.contains("aria-label=\"&quot;&lt;x&gt;\""), "{svg}");
        assert_eq!(svg.matches("<g class=\"differs\">").count(), 2, "the bar and its text: {svg}");
        assert!(!ours.to_svg(Some(&ours.clone()), "x").contains("differs"));
        assert_eq!(svg.matches("<circle").count(), 1, "only who decides has a dot: {svg}");
    }

    #[test]
    fn picture_with_a_mistake_is_refused_with_its_shape() {
        let plain = text("counter").split("[picture]").next().expect("its head").to_owned();
        let shape = |shape: &str| format!("[picture]\nwidth = 1\nheight = 1\nshape = [{{ {shape} }}]\n");
        for (picture, reason) in [
            (shape("kind = \"star\", x = 0, y = 0"), "shape 1 (star): its kind is none of"),
            (shape("kind = \"circle\", x = 0, y = 0"), "it has no radius"),
            (shape("kind = \"line\", x = 0, y = 0, x2 = 1, y2 = 1, radius = 1"), "a radius, which it has no use for"),
            (shape("kind = \"circle\", x = \"valu\", y = 0, radius = 1"), "valu is neither"),
            (shape("kind = \"circle\", x = \"1 +\", y = 0, radius = 1"), "x: \"1 +\" ends where"),
            (shape("kind = \"text\", x = 0, y = 0, size = 1, text = \"{valu}\""), "valu is neither"),
            (shape("kind = \"text\", x = 0, y = 0, size = 1, text = \"{value\""), "{ without a }"),
            (shape("kind = \"circle\", x = 0, y = 0, radius = 1, tone = \"red\""), "tone"),
            (shape("kind = \"circle\", x = 0, y = 0, radius = 1, when = \"value\""), "when:"),
            (shape("kind = \"circle\", x = 0, y = 0, radius = 1, evil = 1"), "evil"),
        ] {
            let error = Manifest::parse(&(plain.clone() + &picture)).expect_err(&picture).to_string();
            assert!(error.contains(reason), "{picture}{error}");
        }
    }
}
