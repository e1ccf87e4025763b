//! What the auction house sells, where and to whom: the words that lots and bidders are made of.

/// A saleroom.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct City {
    /// As it stands in the objects
    pub name: &'static str,
    /// Degrees north
    pub latitude: f64,
    /// Degrees east
    pub longitude: f64,
}

const fn city(name: &'static str, latitude: f64, longitude: f64) -> City {
    City { name, latitude, longitude }
}

/// The salerooms. The first ones have the most lots.
pub const CITIES: &[City] = &[
    city("Paris", 48.8566, 2.3522),
    city("London", 51.5074, -0.1278),
    city("Vienna", 48.2082, 16.3738),
    city("Amsterdam", 52.3676, 4.9041),
    city("Hamburg", 53.5511, 9.9937),
    city("New York", 40.7128, -74.0060),
    city("Tokyo", 35.6762, 139.6503),
    city("Milan", 45.4642, 9.1900),
    city("Zurich", 47.3769, 8.5417),
    city("Copenhagen", 55.6761, 12.5683),
    city("Madrid", 40.4168, -3.7038),
    city("Brussels", 50.8503, 4.3517),
    city("Lisbon", 38.7223, -9.1393),
    city("Prague", 50.0755, 14.4378),
    city("Stockholm", 59.3293, 18.0686),
    city("Edinburgh", 55.9533, -3.1883),
    city("Geneva", 46.2044, 6.1432),
    city("Hong Kong", 22.3193, 114.1694),
    city("São Paulo", -23.5505, -46.6333),
    city("Cape Town", -33.9249, 18.4241),
];

/// A kind of thing, with the words for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Category {
    /// As it stands in the objects
    pub name: &'static str,
    /// The least and the most that one is estimated at, whole euros
    pub estimate: (u32, u32),
    /// What comes first in a title
    pub manners: &'static [&'static str],
    /// What it is
    pub things: &'static [&'static str],
}

const PERIODS: &[&str] = &["Art Deco", "Victorian", "Edwardian", "Louis XVI style", "Mid-century", "Biedermeier", "Jugendstil", "Early"];
const STATES: &[&str] = &["Signed", "Numbered", "Rare", "Early", "Annotated", "Complete", "Unrestored", "Fine"];

/// The departments of the house.
pub const CATEGORIES: &[Category] = &[
    Category {
        name: "Watches",
        estimate: (180, 24_000),
        manners: &["Gold", "Steel", "Military", "Lady's", "Art Deco", "Skeleton", "Enamelled", "Railway"],
        things: &["pocket watch", "wristwatch", "chronograph", "repeater", "diver's watch", "tank watch", "deck watch"],
    },
    Category {
        name: "Paintings",
        estimate: (400, 90_000),
        manners: &["Signed", "Unsigned", "Framed", "Large", "Small", "Early", "Late"],
        things: &[
            "harbour at dusk",
            "portrait of a lady",
            "still life with lemons",
            "winter landscape",
            "study of hands",
            "view of a canal",
        ],
    },
    Category {
        name: "Furniture",
        estimate: (120, 12_000),
        manners: PERIODS,
        things: &["writing desk", "walnut cabinet", "pair of armchairs", "sideboard", "chest of drawers", "dining table", "bookcase"],
    },
    Category {
        name: "Ceramics",
        estimate: (40, 6_000),
        manners: &["Blue and white", "Celadon", "Glazed", "Stoneware", "Lustre", "Crackled", "Hand-painted"],
        things: &["vase", "bowl", "tea set", "tile panel", "figure of a hare", "charger", "pair of jars"],
    },
    Category {
        name: "Books",
        estimate: (30, 9_000),
        manners: STATES,
        things: &["first edition", "atlas in folio", "herbal with plates", "book of hours, leaf", "set of travels", "fables, illustrated"],
    },
    Category {
        name: "Cameras",
        estimate: (50, 5_000),
        manners: &["Chrome", "Black paint", "Folding", "Stereo", "Field", "Boxed", "Serviced"],
        things: &[
            "rangefinder camera",
            "twin-lens reflex",
            "plate camera",
            "miniature camera",
            "35 mm camera",
            "cine camera",
            "portrait lens",
        ],
    },
    Category {
        name: "Instruments",
        estimate: (90, 40_000),
        manners: &["Labelled", "Concert", "Bavarian", "Cremonese school", "Silver-mounted", "Restored", "Student's"],
        things: &["violin", "cello bow", "concertina", "flute", "classical guitar", "mandolin", "bassoon"],
    },
    Category {
        name: "Wine",
        estimate: (60, 8_000),
        manners: &["Twelve bottles of", "Six bottles of", "A magnum of", "Three bottles of", "A case of"],
        things: &["Pauillac", "Barolo", "Meursault", "vintage port", "Tokaji", "Riesling Auslese", "Rioja gran reserva"],
    },
    Category {
        name: "Jewellery",
        estimate: (150, 60_000),
        manners: &["Art Deco", "Victorian", "Platinum", "Gold", "Enamel", "Cultured pearl", "Sapphire"],
        things: &["brooch", "ring", "bracelet", "pair of earrings", "necklace", "tiara", "pendant"],
    },
    Category {
        name: "Coins",
        estimate: (20, 7_000),
        manners: &["Gold", "Silver", "Roman", "Byzantine", "Medieval", "Proof", "Uncirculated"],
        things: &["solidus", "denarius", "thaler", "guinea", "ducat", "medal", "set of florins"],
    },
    Category {
        name: "Maps",
        estimate: (35, 4_500),
        manners: &["Hand-coloured", "Engraved", "Wall", "Celestial", "Folding", "Framed", "Large-scale"],
        things: &["map of the Levant", "sea chart of the North Sea", "plan of a city", "map of the Alps", "pair of globes", "road book"],
    },
    Category {
        name: "Toys",
        estimate: (15, 2_500),
        manners: &["Clockwork", "Tinplate", "Boxed", "Carved", "Painted", "Steam", "Pressed-steel"],
        things: &["locomotive", "carousel", "rocking horse", "doll's house", "fire engine", "marionette", "bear"],
    },
];

/// What lots are marked with; a lot has one to three of them.
pub const TAGS: &[&str] =
    &["rare", "signed", "boxed", "provenance", "restored", "estate", "no reserve", "museum", "pair", "export licence"];

/// From mint to worn.
pub const GRADES: &[&str] = &["mint", "excellent", "good", "fair", "worn"];

/// How bids come; most come by the web.
pub const CHANNELS: &[&str] = &["room", "phone", "web", "web", "web"];

/// First names of bidders.
pub const FIRST_NAMES: &[&str] = &[
    "Ada", "Amir", "Aiko", "Beatriz", "Bruno", "Chiara", "Daniel", "Elif", "Emil", "Fatima", "Felix", "Greta", "Hugo", "Ines", "Ivan",
    "Jamal", "Julia", "Kenji", "Lena", "Luca", "Maya", "Mei", "Nadia", "Noah", "Olga", "Omar", "Pia", "Ravi", "Sofia", "Tomás", "Uma",
    "Victor", "Wanda", "Yara", "Zoë",
];

/// Last names of bidders.
pub const LAST_NAMES: &[&str] = &[
    "Almeida",
    "Bauer",
    "Castro",
    "Dubois",
    "Eriksen",
    "Fischer",
    "García",
    "Haddad",
    "Ito",
    "Jansen",
    "Kowalski",
    "Lindqvist",
    "Moreau",
    "Nakamura",
    "Okafor",
    "Petrov",
    "Quint",
    "Rossi",
    "Schmid",
    "Tanaka",
    "Urban",
    "Vermeer",
    "Weiss",
    "Yılmaz",
    "Zeman",
];
