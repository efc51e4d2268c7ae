//! Places: members of sorted sets whose scores are geohashes.
//! Source: the documentation of Redis and the replies of redis-server 8.0.

use super::string::bulk_string;
use super::zset::{AddOptions, Members, add, read, score};
use super::*;
use crate::keyspace::Key;
use crate::resp::reply::Reply;
use crate::types::geo::{Place, Shape};
use crate::types::{StringRef, ZsetRef};

/// What the rows that read have in common.
const READ: Command = Command::new("", -2, geopos)
    .flags(READONLY)
    .categories(CAT_GEO)
    .keys(&[KeySpec::first(RO | ACCESS)]);

const AREA: &str =
    "O(N+log(M)) where N is the number of members in the box around the area and M that of all";

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    Command::new("geoadd", -5, geoadd)
        .flags(WRITE | DENYOOM)
        .categories(CAT_GEO)
        .keys(&[KeySpec::first(RW | UPDATE)])
        .doc(
            Group::Geo,
            "3.2.0",
            "O(log(N)) for each place, where N is the number of places",
            "Adds places to a sorted set.",
        )
        .syntax("key [NX | XX]{=condition @6.2.0} [CH{=change @6.2.0}] <longitude{:double} \
                 latitude{:double} member>{=data} ...")
        .history(&[("6.2.0", "Added the `CH`, `NX` and `XX` options.")]),
    Command { arity: -4, ..READ }
        .named("geodist", geodist)
        .doc(
            Group::Geo,
            "3.2.0",
            "O(1)",
            "Tells the distance between two places.",
        )
        .syntax("key member1 member2 [M | KM | FT | MI]{=unit}"),
    READ.named("geohash", geohash)
        .doc(
            Group::Geo,
            "3.2.0",
            "O(1) for each member",
            "Returns the geohashes of places.",
        )
        .syntax("key [member [member ...]]"),
    READ.named("geopos", geopos)
        .doc(
            Group::Geo,
            "3.2.0",
            "O(1) for each member",
            "Returns longitude and latitude of places.",
        )
        .syntax("key [member [member ...]]"),
    RADIUS
        .named("georadius", georadius)
        .keys(&[
            KeySpec::first(RO | ACCESS),
            stored_at("STORE", 6),
            stored_at("STOREDIST", 6),
        ])
        .syntax("key longitude{:double} latitude{:double} radius{:double} <M | KM | FT | MI>{=unit} \
                 [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY{@6.2.0}]]{=count-block} [ASC | \
                 DESC]{=order} [STORE key{=storekey} | STOREDIST key{=storedistkey}]{=store}")
        .deprecated(
            "6.2.0",
            "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument",
        ),
    Command {
        since: "3.2.10",
        flags: READONLY,
        ..RADIUS
    }
    .named("georadius_ro", georadius_ro)
    .syntax("key longitude{:double} latitude{:double} radius{:double} <M | KM | FT | MI>{=unit} \
                 [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY{@6.2.0}]]{=count-block} [ASC | \
                 DESC]{=order}")
    .deprecated("6.2.0", "`GEOSEARCH` with the `BYRADIUS` argument"),
    Command {
        arity: -5,
        ..RADIUS
    }
    .named("georadiusbymember", georadiusbymember)
    .keys(&[
        KeySpec::first(RO | ACCESS),
        stored_at("STORE", 5),
        stored_at("STOREDIST", 5),
    ])
    .syntax("key member radius{:double} <M | KM | FT | MI>{=unit} [WITHCOORD] [WITHDIST] [WITHHASH] \
                 [COUNT count [ANY]]{=count-block} [ASC | DESC]{=order} [STORE key{=storekey} | STOREDIST \
                 key{=storedistkey}]{=store}")
    .deprecated(
        "6.2.0",
        "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments",
    ),
    Command {
        arity: -5,
        since: "3.2.10",
        flags: READONLY,
        ..RADIUS
    }
    .named("georadiusbymember_ro", georadiusbymember_ro)
    .syntax("key member radius{:double} <M | KM | FT | MI>{=unit} [WITHCOORD] [WITHDIST] [WITHHASH] \
                 [COUNT count [ANY]]{=count-block} [ASC | DESC]{=order}")
    .deprecated(
        "6.2.0",
        "`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments",
    ),
    Command { arity: -7, ..READ }
        .named("geosearch", geosearch)
        .doc(
            Group::Geo,
            "6.2.0",
            AREA,
            "Returns the places within a circle or a box.",
        )
        .syntax("key <FROMMEMBER member | FROMLONLAT <longitude{:double} \
                 latitude{:double}>{=fromlonlat}>{=from} <<BYRADIUS radius{:double} <M | KM | FT | \
                 MI>{=unit}>{=circle} | <BYBOX width{:double} height{:double} <M | KM | FT | \
                 MI>{=unit}>{=box}>{=by} [ASC | DESC]{=order} [COUNT count [ANY]]{=count-block} \
                 [WITHCOORD] [WITHDIST] [WITHHASH]")
        .history(&[("7.0.0", "Added support for uppercase unit names.")]),
    Command::new("geosearchstore", -8, geosearchstore)
        .flags(WRITE | DENYOOM)
        .categories(CAT_GEO)
        .keys(&[
            KeySpec::first(OW | UPDATE),
            KeySpec::range(2, 0, 1, RO | ACCESS),
        ])
        .doc(
            Group::Geo,
            "6.2.0",
            AREA,
            "Stores the places within a circle or a box as a sorted set.",
        )
        .syntax("destination source <FROMMEMBER member | FROMLONLAT <longitude{:double} \
                 latitude{:double}>{=fromlonlat}>{=from} <<BYRADIUS radius{:double} <M | KM | FT | \
                 MI>{=unit}>{=circle} | <BYBOX width{:double} height{:double} <M | KM | FT | \
                 MI>{=unit}>{=box}>{=by} [ASC | DESC]{=order} [COUNT count [ANY]]{=count-block} \
                 [STOREDIST]")
        .history(&[("7.0.0", "Added support for uppercase unit names.")]),
];

/// What the rows of the GEORADIUS family have in common.
const RADIUS: Command = Command::new("", -6, georadius)
    .flags(WRITE | DENYOOM | MOVABLE_KEYS)
    .categories(CAT_GEO)
    .keys(&[KeySpec::first(RO | ACCESS)])
    .doc(
        Group::Geo,
        "3.2.0",
        AREA,
        "Returns the places within a circle.",
    )
    .history(&[
        ("6.2.0", "Added the `ANY` option for `COUNT`."),
        ("7.0.0", "Added support for uppercase unit names."),
    ]);

/// The key behind a word.
const fn stored_at(word: &'static str, from: i32) -> KeySpec {
    KeySpec {
        begin: Begin::Keyword(word, from),
        find: Find::Range {
            last: 0,
            step: 1,
            limit: 0,
        },
        flags: OW | UPDATE,
        notes: "",
    }
}

/// Metres of the next argument's unit.
fn unit(args: &mut Args<'_>) -> Result<f64, CommandError> {
    let name = args.bytes()?.to_ascii_lowercase();
    match name.as_slice() {
        b"m" => Ok(1.0),
        b"km" => Ok(1000.0),
        b"ft" => Ok(0.3048),
        b"mi" => Ok(1609.34),
        _ => Err(CommandError::text(
            "ERR unsupported unit provided. please use M, KM, FT, MI",
        )),
    }
}

/// Longitude and latitude of the next arguments.
fn place(args: &mut Args<'_>) -> Result<Place, CommandError> {
    let (longitude, latitude) = (args.float()?, args.float()?);
    let place = Place {
        longitude,
        latitude,
    };
    match place.is_valid() {
        true => Ok(place),
        false => Err(CommandError::owned(format!(
            "ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}"
        ))),
    }
}

/// The next argument as a number, or this error.
fn number(args: &mut Args<'_>, error: &'static str) -> Result<f64, CommandError> {
    args.float().map_err(|_| CommandError::text(error))
}

/// GEOADD key [NX | XX] [CH] longitude latitude member [longitude latitude member …]
/// Reply: how many places are new, with CH new or changed. Errors: syntax error, not a float, out of range, WRONGTYPE.
/// Propagates: ZADD. O(log n) a place.
fn geoadd(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let start = args.position();
    let mut options = AddOptions::default();
    loop {
        let flag = match () {
            () if args.take("nx") => &mut options.not_existing,
            () if args.take("xx") => &mut options.only_existing,
            () if args.take("ch") => &mut options.count_changed,
            () => break,
        };
        *flag = true;
    }
    let words = start..args.position();
    if !args.left().is_multiple_of(3) || (options.not_existing && options.only_existing) {
        return Err(CommandError::Syntax);
    }
    let mut places = Vec::with_capacity(args.left() / 3);
    while !args.is_empty() {
        places.push((place(args)?.score() as f64, args.bytes()?));
    }
    if places.is_empty() {
        return Err(CommandError::Syntax);
    }
    let dirty = ctx.engine.dirty;
    add(ctx, key, &options, places.iter().copied())?;
    if ctx.engine.dirty > dirty && ctx.engine.propagates() {
        let scores: Vec<String> = places
            .iter()
            .map(|(score, _)| (*score as u64).to_string())
            .collect();
        let mut argv: Vec<&[u8]> = vec![b"zadd", key.bytes];
        argv.extend(words.map(|index| args.at(index)));
        for (score, (_, member)) in scores.iter().zip(&places) {
            argv.extend([score.as_bytes(), member]);
        }
        ctx.replicate_as(&argv);
    }
    Ok(())
}

/// The place of a member.
fn place_of(zset: Option<ZsetRef<'_>>, member: &[u8]) -> Option<Place> {
    zset?.score(member).map(Place::of_score)
}

/// GEOPOS key [member …]. Reply: an array of longitude and latitude or a null array. Errors: WRONGTYPE. O(members).
fn geopos(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let (zset, reply) = read(ctx, key)?;
    reply.array(args.left());
    while !args.is_empty() {
        match place_of(zset, args.bytes()?) {
            Some(place) => coordinates(reply, place),
            None => reply.null_array(),
        }
    }
    Ok(())
}

fn coordinates(reply: &mut Reply, place: Place) {
    reply.array(2);
    score(reply, place.longitude);
    score(reply, place.latitude);
}

/// A distance with four decimals: scaled as a double before it is rounded, as Redis does, which near a half may be
/// another digit than that of the exact value.
fn distance(reply: &mut Reply, value: f64) {
    let scaled = (value * 10_000.0).round_ties_even() as u64;
    reply.bulk(format!("{}.{:04}", scaled / 10_000, scaled % 10_000).as_bytes());
}

/// GEODIST key member1 member2 [M | KM | FT | MI]. Reply: the distance or null. Errors: WRONGTYPE, unsupported unit. O(1).
fn geodist(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let (key, from, to) = (args.key()?, args.bytes()?, args.bytes()?);
    let metres = match args.left() {
        0 => 1.0,
        1 => unit(args)?,
        _ => return Err(CommandError::Syntax),
    };
    let (zset, reply) = read(ctx, key)?;
    match place_of(zset, from).zip(place_of(zset, to)) {
        Some((from, to)) => distance(reply, from.distance(to) / metres),
        None => reply.null(),
    }
    Ok(())
}

/// GEOHASH key [member …]. Reply: an array of geohashes and nulls. Errors: WRONGTYPE. O(members).
fn geohash(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    let key = args.key()?;
    let (zset, reply) = read(ctx, key)?;
    reply.array(args.left());
    while !args.is_empty() {
        match place_of(zset, args.bytes()?) {
            Some(place) => reply.bulk(&place.geohash()),
            None => reply.null(),
        }
    }
    Ok(())
}

/// The commands that search.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// GEORADIUS: longitude, latitude, radius and unit come first; whether it may store.
    Radius(bool),
    /// GEORADIUSBYMEMBER: member, radius and unit come first; whether it may store.
    RadiusByMember(bool),
    /// GEOSEARCH.
    Search,
    /// GEOSEARCHSTORE.
    SearchStore,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    None,
    Ascending,
    Descending,
}

/// What is searched, and what becomes of it.
struct Query<'a> {
    /// None: of a member of a set that is not there.
    centre: Option<Place>,
    shape: Option<Shape>,
    /// Metres of the unit.
    metres: f64,
    with_distance: bool,
    with_hash: bool,
    with_coordinates: bool,
    /// 0: all.
    count: usize,
    any: bool,
    sort: Sort,
    store: Option<Key<'a>>,
    store_distance: bool,
}

impl<'a> Query<'a> {
    /// Reads what is behind the keys; `zset` gives the places of members.
    fn parse(
        args: &mut Args<'a>,
        form: Form,
        zset: Option<ZsetRef<'_>>,
        store: Option<Key<'a>>,
    ) -> Result<Query<'a>, CommandError> {
        let mut query = Query {
            centre: None,
            shape: None,
            metres: 1.0,
            with_distance: false,
            with_hash: false,
            with_coordinates: false,
            count: 0,
            any: false,
            sort: Sort::None,
            store,
            store_distance: false,
        };
        match form {
            Form::Radius(_) => {
                query.centre = Some(place(args)?);
                query.radius(args)?;
            }
            // Without a set the rest is not looked at.
            Form::RadiusByMember(_) if zset.is_none() => args.skip(3),
            Form::RadiusByMember(_) => {
                query.member(args, zset)?;
                query.radius(args)?;
            }
            Form::Search | Form::SearchStore => {}
        }
        let searches = matches!(form, Form::Search | Form::SearchStore);
        let stores = matches!(form, Form::Radius(true) | Form::RadiusByMember(true));
        let (mut from_member, mut from_place) = (false, false);
        while !args.is_empty() {
            if args.take("withdist") {
                query.with_distance = true;
            } else if args.take("withhash") {
                query.with_hash = true;
            } else if args.take("withcoord") {
                query.with_coordinates = true;
            } else if args.take("any") {
                query.any = true;
            } else if args.take("asc") {
                query.sort = Sort::Ascending;
            } else if args.take("desc") {
                query.sort = Sort::Descending;
            } else if args.left() >= 2 && args.take("count") {
                let count = args.int()?;
                if count <= 0 {
                    return Err(CommandError::text("ERR COUNT must be > 0"));
                }
                query.count = count as usize;
            } else if stores && args.left() >= 2 && args.take("store") {
                (query.store, query.store_distance) = (Some(args.key()?), false);
            } else if stores && args.left() >= 2 && args.take("storedist") {
                (query.store, query.store_distance) = (Some(args.key()?), true);
            } else if searches && !from_place && args.left() >= 2 && args.take("frommember") {
                match zset {
                    Some(_) => query.member(args, zset)?,
                    None => args.skip(1),
                }
                from_member = true;
            } else if searches && !from_member && args.left() >= 3 && args.take("fromlonlat") {
                query.centre = Some(place(args)?);
                from_place = true;
            } else if searches
                && !matches!(query.shape, Some(Shape::Box { .. }))
                && args.left() >= 3
                && args.take("byradius")
            {
                query.radius(args)?;
            } else if searches
                && !matches!(query.shape, Some(Shape::Circle { .. }))
                && args.left() >= 4
                && args.take("bybox")
            {
                query.sides(args)?;
            } else if form == Form::SearchStore && args.take("storedist") {
                query.store_distance = true;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        query.check(args.at(0), searches, !searches || from_member || from_place)?;
        Ok(query)
    }

    fn member(
        &mut self,
        args: &mut Args<'_>,
        zset: Option<ZsetRef<'_>>,
    ) -> Result<(), CommandError> {
        self.centre = place_of(zset, args.bytes()?);
        match self.centre {
            Some(_) => Ok(()),
            None => Err(CommandError::text(
                "ERR could not decode requested zset member",
            )),
        }
    }

    fn radius(&mut self, args: &mut Args<'_>) -> Result<(), CommandError> {
        let radius = number(args, "ERR need numeric radius")?;
        if radius < 0.0 {
            return Err(CommandError::text("ERR radius cannot be negative"));
        }
        self.metres = unit(args)?;
        let radius = radius * self.metres;
        self.shape = Some(Shape::Circle { radius });
        Ok(())
    }

    fn sides(&mut self, args: &mut Args<'_>) -> Result<(), CommandError> {
        let width = number(args, "ERR need numeric width")?;
        let height = number(args, "ERR need numeric height")?;
        if width < 0.0 || height < 0.0 {
            return Err(CommandError::text("ERR height or width cannot be negative"));
        }
        self.metres = unit(args)?;
        let (width, height) = (width * self.metres, height * self.metres);
        self.shape = Some(Shape::Box { width, height });
        Ok(())
    }

    /// Errs where options do not go together.
    fn check(&self, name: &[u8], searches: bool, has_centre: bool) -> Result<(), CommandError> {
        if self.store.is_some() && (self.with_distance || self.with_hash || self.with_coordinates) {
            let what = match searches {
                true => "GEOSEARCHSTORE",
                false => "STORE option in GEORADIUS",
            };
            return Err(CommandError::owned(format!(
                "ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            )));
        }
        if searches && !has_centre {
            let before = "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for ";
            return Err(CommandError::echoing(before, name, ""));
        }
        if searches && self.shape.is_none() {
            let before = "ERR exactly one of BYRADIUS and BYBOX can be specified for ";
            return Err(CommandError::echoing(before, name, ""));
        }
        if self.any && self.count == 0 {
            return Err(CommandError::text(
                "ERR the ANY argument requires COUNT argument",
            ));
        }
        Ok(())
    }

    /// The members in the area, in the order in which cells and scores give them, then sorted and cut.
    fn run<'z>(&self, zset: Option<ZsetRef<'z>>) -> Vec<Found<'z>> {
        let (Some(zset), Some(centre), Some(shape)) = (zset, self.centre, self.shape) else {
            return Vec::new();
        };
        let enough = if self.any { self.count } else { usize::MAX };
        let mut found = Vec::new();
        for scores in shape.ranges(centre) {
            let rank = |bound: u64| zset.partition(|_, score| score < bound as f64);
            let ranks = rank(scores.start)..rank(scores.end);
            for (member, score) in zset.range(ranks, false) {
                if found.len() >= enough {
                    break;
                }
                let place = Place::of_score(score);
                if let Some(metres) = shape.distance(centre, place) {
                    found.push(Found {
                        member,
                        score,
                        place,
                        distance: metres / self.metres,
                    });
                }
            }
        }
        let by_distance = |a: &Found<'_>, b: &Found<'_>| a.distance.total_cmp(&b.distance);
        match self.sort {
            // The nearest ones are asked for, unless any do.
            Sort::None if self.count == 0 || self.any => {}
            Sort::None | Sort::Ascending => found.sort_by(by_distance),
            Sort::Descending => found.sort_by(|a, b| by_distance(b, a)),
        }
        if self.count > 0 {
            found.truncate(self.count);
        }
        found
    }

    fn reply(&self, reply: &mut Reply, found: &[Found<'_>]) {
        let extras = [self.with_distance, self.with_hash, self.with_coordinates];
        let extras = extras.iter().filter(|wanted| **wanted).count();
        reply.array(found.len());
        for one in found {
            if extras > 0 {
                reply.array(1 + extras);
            }
            bulk_string(reply, one.member);
            if self.with_distance {
                distance(reply, one.distance);
            }
            if self.with_hash {
                reply.int(one.score as i64);
            }
            if self.with_coordinates {
                coordinates(reply, one.place);
            }
        }
    }
}

/// A member in the area.
struct Found<'z> {
    member: StringRef<'z>,
    score: f64,
    place: Place,
    /// In the query's unit.
    distance: f64,
}

/// All searches. Reply: an array of members, each with what is asked for, or when it stores how many there are.
/// Errors: WRONGTYPE, syntax error, invalid numbers, options that exclude each other. O(members near the area + log n).
fn search(ctx: &mut Context<'_>, args: &mut Args<'_>, form: Form) -> Result<(), CommandError> {
    let store = match form {
        Form::SearchStore => Some(args.key()?),
        Form::Search | Form::Radius(_) | Form::RadiusByMember(_) => None,
    };
    let key = args.key()?;
    let (zset, reply) = read(ctx, key)?;
    let query = Query::parse(args, form, zset, store)?;
    let found = query.run(zset);
    let Some(to) = query.store else {
        query.reply(reply, &found);
        return Ok(());
    };
    let mut members = Members::default();
    for one in &found {
        let score = match query.store_distance {
            true => one.distance,
            false => one.score,
        };
        members.push(one.member, score);
    }
    let event = match form {
        Form::SearchStore => "geosearchstore",
        Form::Search | Form::Radius(_) | Form::RadiusByMember(_) => "georadiusstore",
    };
    let count = members.len() as u64;
    members.store(ctx, to, event);
    ctx.engine.dirty += count.saturating_sub(1);
    Ok(())
}

/// GEORADIUS key longitude latitude radius unit [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC]
/// [STORE key | STOREDIST key]
fn georadius(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    search(ctx, args, Form::Radius(true))
}

/// GEORADIUS_RO: GEORADIUS without STORE.
fn georadius_ro(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    search(ctx, args, Form::Radius(false))
}

/// GEORADIUSBYMEMBER key member radius unit …: GEORADIUS around a member.
fn georadiusbymember(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    search(ctx, args, Form::RadiusByMember(true))
}

/// GEORADIUSBYMEMBER_RO: GEORADIUSBYMEMBER without STORE.
fn georadiusbymember_ro(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    search(ctx, args, Form::RadiusByMember(false))
}

/// GEOSEARCH key FROMMEMBER member | FROMLONLAT longitude latitude BYRADIUS radius unit | BYBOX width height unit
/// [ASC | DESC] [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]
fn geosearch(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    search(ctx, args, Form::Search)
}

/// GEOSEARCHSTORE destination source …: GEOSEARCH whose result is stored, with STOREDIST the distances as scores.
fn geosearchstore(ctx: &mut Context<'_>, args: &mut Args<'_>) -> Result<(), CommandError> {
    search(ctx, args, Form::SearchStore)
}
