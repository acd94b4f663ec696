//! Draws a state as pixels: the `[picture]` of the manifest as the report has it, with colours and a font.

use lockstep_harness::html::Picture;
use lockstep_harness::manifest::{Configuration, Manifest};
use lockstep_harness::record::Record;
use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::{Options, Tree};
use std::sync::LazyLock;

/// The classes of the report's pictures; text is centred there too.
const STYLE: &str = "<style>.ink{fill:#1c1c1a}.soft{fill:#6a6a64}.faint,.track{fill:#d9d9d2}\
    .outline{fill:none;stroke:#b9b9b0;stroke-width:1}line{stroke-width:1.5}line.ink{stroke:#1c1c1a}\
    line.soft{stroke:#6a6a64}line.faint{stroke:#d9d9d2}\
    text{text-anchor:middle;font-family:'DejaVu Sans'}</style>";

/// A picture larger than this is refused.
const PIXELS_MAX: u32 = 4096;

static OPTIONS: LazyLock<Options<'static>> = LazyLock::new(|| {
    let mut options = Options { font_family: "DejaVu Sans".into(), ..Options::default() };
    options.fontdb_mut().load_font_data(dejavu::sans::regular().to_vec());
    options
});

/// Rows of pixels, three bytes each.
pub struct Drawn {
    pub height: u32,
    pub width: u32,
    pub pixels: Vec<u8>,
}

/// Draws a state in the state form.
pub fn draw(manifest: &Manifest, configuration: &Configuration, state: &[u8]) -> Result<Drawn, String> {
    let name = &configuration.environment;
    let table = manifest.file.picture.as_ref().ok_or_else(|| format!("{name} has no [picture] in its env.toml"))?;
    let picture = Picture::of(table).ok_or_else(|| format!("the [picture] of {name} is not valid"))?;
    let record = Record {
        kind: 0,
        terminated: false,
        truncated: false,
        deciders: 0,
        draws: Vec::new(),
        rows: None,
        canonical: state.to_vec(),
        masks: Vec::new(),
        observations: Vec::new(),
        rewards: Vec::new(),
        state_form: true,
    };
    let svg = picture.draw(configuration, &record).to_svg(None, name);
    let svg =
        svg.replacen("<svg ", "<svg xmlns=\"http://www.w3.org/2000/svg\" ", 1).replacen('>', &format!(">{STYLE}"), 1);
    let failed = |what: String| format!("the picture of {name} could not be drawn: {what}");
    let tree = Tree::from_str(&svg, &OPTIONS).map_err(|error| failed(error.to_string()))?;
    let size = tree.size().to_int_size();
    let (width, height) = (size.width(), size.height());
    if width > PIXELS_MAX || height > PIXELS_MAX {
        return Err(failed(format!("{width} x {height} pixels are more than {PIXELS_MAX} x {PIXELS_MAX}")));
    }
    let mut pixmap = Pixmap::new(width, height).ok_or_else(|| failed("it has no size".into()))?;
    pixmap.fill(Color::WHITE);
    resvg::render(&tree, Transform::identity(), &mut pixmap.as_mut());
    let pixels = pixmap.data().chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
    Ok(Drawn { height, width, pixels })
}
