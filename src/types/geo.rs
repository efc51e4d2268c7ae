//! Places on the earth as scores: a longitude and a latitude as 52 bits, and what is near what.
//!
//! A *cell* is a prefix of the 52 bits: `step` bits of each coordinate, interleaved, those of the latitude first from
//! below. All places of a cell are a range of scores. A search visits the cell around its centre and the eight next to
//! it, at a step where these nine hold the whole area.
//! Source: the public description of geohash, the documentation of Redis, and the replies of redis-server 8.0.

use std::ops::Range;

/// Bits of a coordinate in a score.
const STEP_MAX: u32 = 26;
/// Metres.
const EARTH_RADIUS: f64 = 6_372_797.560_856;
/// Metres of half the equator in the Mercator projection.
const MERCATOR_MAX: f64 = 20_037_726.37;
/// Degrees, as Web Mercator bounds them.
pub const LATITUDE_MAX: f64 = 85.051_128_78;
/// Degrees.
pub const LONGITUDE_MAX: f64 = 180.0;

/// Degrees of longitude and latitude.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Place {
    /// From -180 to 180.
    pub longitude: f64,
    /// From -85.05112878 to 85.05112878.
    pub latitude: f64,
}

impl Place {
    /// Whether both are within their bounds.
    pub fn is_valid(&self) -> bool {
        self.longitude.abs() <= LONGITUDE_MAX && self.latitude.abs() <= LATITUDE_MAX
    }

    /// The middle of the cell that a score is.
    pub fn of_score(score: f64) -> Place {
        let area = Cell {
            bits: score as u64,
            step: STEP_MAX,
        };
        area.area().middle()
    }

    /// The 52 bits, exact as a score.
    pub fn score(&self) -> u64 {
        Cell::around(*self, STEP_MAX).bits
    }

    /// Metres between two places, on a great circle.
    pub fn distance(&self, other: Place) -> f64 {
        let (from, to) = (self.longitude.to_radians(), other.longitude.to_radians());
        let v = ((to - from) / 2.0).sin();
        if v == 0.0 {
            return latitude_distance(self.latitude, other.latitude);
        }
        let (from, to) = (self.latitude.to_radians(), other.latitude.to_radians());
        let u = ((to - from) / 2.0).sin();
        let a = u * u + from.cos() * to.cos() * v * v;
        2.0 * EARTH_RADIUS * a.sqrt().asin()
    }

    /// The standard geohash: 11 characters, the last always `0`.
    pub fn geohash(&self) -> [u8; 11] {
        const DIGITS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let latitude = fraction(self.latitude, 90.0);
        let bits = Cell::of(fraction(self.longitude, LONGITUDE_MAX), latitude, STEP_MAX).bits;
        let mut text = [b'0'; 11];
        for (index, digit) in text.iter_mut().take(10).enumerate() {
            *digit = DIGITS[(bits >> (47 - 5 * index) & 31) as usize];
        }
        text
    }
}

fn latitude_distance(a: f64, b: f64) -> f64 {
    EARTH_RADIUS * (b.to_radians() - a.to_radians()).abs()
}

/// Where a coordinate lies between its bounds: 0 to 1.
fn fraction(degrees: f64, max: f64) -> f64 {
    (degrees + max) / (max + max)
}

/// Spreads 32 bits over the even bits of 64.
fn spread(bits: u32) -> u64 {
    let mut bits = u64::from(bits);
    for (shift, mask) in [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555),
    ] {
        bits = (bits | bits << shift) & mask;
    }
    bits
}

/// Gathers the even bits.
fn gather(bits: u64) -> u32 {
    let mut bits = bits & 0x5555_5555_5555_5555;
    for (shift, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ] {
        bits = (bits | bits >> shift) & mask;
    }
    bits as u32
}

/// A prefix of a score.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Cell {
    bits: u64,
    step: u32,
}

/// What a cell covers, in degrees.
#[derive(Clone, Copy, Debug)]
struct Area {
    longitude: (f64, f64),
    latitude: (f64, f64),
}

impl Area {
    fn middle(&self) -> Place {
        let half = |(low, high): (f64, f64), max: f64| ((low + high) / 2.0).clamp(-max, max);
        Place {
            longitude: half(self.longitude, LONGITUDE_MAX),
            latitude: half(self.latitude, LATITUDE_MAX),
        }
    }
}

impl Cell {
    fn of(longitude: f64, latitude: f64, step: u32) -> Cell {
        let scale = f64::from(1_u32 << step);
        let index = |fraction: f64| (fraction * scale) as u32;
        let bits = spread(index(latitude)) | spread(index(longitude)) << 1;
        Cell { bits, step }
    }

    fn around(place: Place, step: u32) -> Cell {
        let longitude = fraction(place.longitude, LONGITUDE_MAX);
        Cell::of(longitude, fraction(place.latitude, LATITUDE_MAX), step)
    }

    fn area(self) -> Area {
        let scale = f64::from(1_u32 << self.step);
        let side = |index: u32, max: f64| {
            let low = -max + f64::from(index) / scale * (max + max);
            let high = -max + f64::from(index.wrapping_add(1)) / scale * (max + max);
            (low, high)
        };
        Area {
            longitude: side(gather(self.bits >> 1), LONGITUDE_MAX),
            latitude: side(gather(self.bits), LATITUDE_MAX),
        }
    }

    /// The cell so many to the east and north, round the earth. A coordinate that does not move may lie beyond the last
    /// cell, where that of a place on the edge does.
    fn moved(self, east: i32, north: i32) -> Cell {
        let mask = (1_u32 << self.step) - 1;
        let index = |bits: u64, by: i32| match by {
            0 => gather(bits),
            by => gather(bits).wrapping_add_signed(by) & mask,
        };
        let (longitude, latitude) = (index(self.bits >> 1, east), index(self.bits, north));
        Cell {
            bits: spread(latitude) | spread(longitude) << 1,
            step: self.step,
        }
    }

    fn scores(self) -> Range<u64> {
        let shift = 2 * (STEP_MAX - self.step);
        self.bits << shift..(self.bits + 1) << shift
    }
}

/// The form of a searched area, its sides in metres.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// All places up to a distance.
    Circle {
        /// Metres.
        radius: f64,
    },
    /// A box with the centre in its middle.
    Box {
        /// Metres from west to east.
        width: f64,
        /// Metres from south to north.
        height: f64,
    },
}

/// Directions east and north, in the order in which the cells are visited.
const NEIGHBOURS: [(i32, i32); 9] = [
    (0, 0),
    (0, 1),
    (0, -1),
    (1, 0),
    (-1, 0),
    (1, 1),
    (-1, 1),
    (1, -1),
    (-1, -1),
];

impl Shape {
    /// Metres from the centre to a place within the shape; `None` for one that is not.
    pub fn distance(&self, centre: Place, place: Place) -> Option<f64> {
        match *self {
            Shape::Circle { radius } => {
                let distance = centre.distance(place);
                (distance <= radius).then_some(distance)
            }
            Shape::Box { width, height } => {
                if latitude_distance(place.latitude, centre.latitude) > height / 2.0 {
                    return None;
                }
                let at_its_height = Place {
                    latitude: place.latitude,
                    ..centre
                };
                if place.distance(at_its_height) > width / 2.0 {
                    return None;
                }
                Some(centre.distance(place))
            }
        }
    }

    /// Degrees that hold the shape: longitudes and latitudes.
    fn bounds(&self, centre: Place) -> Area {
        let (width, height) = match *self {
            Shape::Circle { radius } => (radius, radius),
            Shape::Box { width, height } => (width / 2.0, height / 2.0),
        };
        let latitude_delta = (height / EARTH_RADIUS).to_degrees();
        let longitude_delta =
            |latitude: f64| (width / EARTH_RADIUS / latitude.to_radians().cos()).to_degrees();
        // The wider of both edges is the one farther from the equator.
        let edge = match centre.latitude < 0.0 {
            true => centre.latitude - latitude_delta,
            false => centre.latitude + latitude_delta,
        };
        let delta = longitude_delta(edge);
        Area {
            longitude: (centre.longitude - delta, centre.longitude + delta),
            latitude: (
                centre.latitude - latitude_delta,
                centre.latitude + latitude_delta,
            ),
        }
    }

    /// The step at which a cell is about as large as the shape.
    fn step(&self, centre: Place) -> u32 {
        let mut radius = match *self {
            Shape::Circle { radius } => radius,
            Shape::Box { width, height } => {
                ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt()
            }
        };
        if radius == 0.0 {
            return STEP_MAX;
        }
        let mut step = 1_i32;
        while radius < MERCATOR_MAX {
            radius *= 2.0;
            step += 1;
        }
        step -= 2;
        // Near the poles a degree of longitude is short.
        if centre.latitude.abs() > 66.0 {
            step -= 1;
        }
        if centre.latitude.abs() > 80.0 {
            step -= 1;
        }
        step.clamp(1, STEP_MAX as i32) as u32
    }

    /// The ranges of scores to look at, in order.
    pub fn ranges(&self, centre: Place) -> Vec<Range<u64>> {
        let bounds = self.bounds(centre);
        let mut cell = Cell::around(centre, self.step(centre));
        let next = |cell: Cell, east, north| cell.moved(east, north).area();
        let too_small = next(cell, 0, 1).latitude.1 < bounds.latitude.1
            || next(cell, 0, -1).latitude.0 > bounds.latitude.0
            || next(cell, 1, 0).longitude.1 < bounds.longitude.1
            || next(cell, -1, 0).longitude.0 > bounds.longitude.0;
        if too_small && cell.step > 1 {
            cell = Cell::around(centre, cell.step - 1);
        }
        let area = cell.area();
        let is_beyond = |east: i32, north: i32| {
            cell.step >= 2
                && ((north < 0 && area.latitude.0 < bounds.latitude.0)
                    || (north > 0 && area.latitude.1 > bounds.latitude.1)
                    || (east < 0 && area.longitude.0 < bounds.longitude.0)
                    || (east > 0 && area.longitude.1 > bounds.longitude.1))
        };
        let mut ranges: Vec<Range<u64>> = Vec::with_capacity(NEIGHBOURS.len());
        for (east, north) in NEIGHBOURS {
            if is_beyond(east, north) {
                continue;
            }
            // A centre on the eastern or northern edge is in a cell of its own beyond it.
            let visited = match (east, north) {
                (0, 0) => cell,
                _ => cell.moved(east, north),
            };
            let scores = visited.scores();
            // Of few large cells, those on both sides may be one.
            if ranges.last() != Some(&scores) {
                ranges.push(scores);
            }
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PALERMO: Place = Place {
        longitude: 13.361389,
        latitude: 38.115556,
    };
    const CATANIA: Place = Place {
        longitude: 15.087269,
        latitude: 37.502669,
    };

    #[test]
    fn scores_and_hashes_are_those_of_the_documentation() {
        assert_eq!(PALERMO.score(), 3_479_099_956_230_698);
        assert_eq!(CATANIA.score(), 3_479_447_370_796_909);
        let place = Place::of_score(PALERMO.score() as f64);
        assert_eq!(&place.geohash(), b"sqc8b49rny0");
        let other = Place::of_score(CATANIA.score() as f64);
        assert!((place.distance(other) - 166_274.151_6).abs() < 1e-3);
    }

    #[test]
    fn bits_spread_and_gather() {
        for bits in [0, 1, 0xffff_ffff, 0x1234_5678, 1 << 25] {
            assert_eq!(gather(spread(bits)), bits);
        }
    }

    #[test]
    fn all_places_in_a_shape_are_in_its_ranges() {
        let mut prng = crate::base::prng::Prng::new(7);
        let mut degrees =
            |max: f64| (prng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64 * 2.0 * max - max;
        for _ in 0..20_000 {
            let centre = Place {
                longitude: degrees(150.0),
                latitude: degrees(70.0),
            };
            let place = Place {
                longitude: centre.longitude + degrees(10.0),
                latitude: centre.latitude + degrees(8.0),
            };
            let radius = degrees(1_000_000.0).abs();
            for shape in [
                Shape::Circle { radius },
                Shape::Box {
                    width: radius,
                    height: radius * 1.5,
                },
            ] {
                if shape.distance(centre, place).is_some() {
                    let score = place.score();
                    assert!(
                        shape
                            .ranges(centre)
                            .iter()
                            .any(|range| range.contains(&score))
                    );
                }
            }
        }
    }
}
