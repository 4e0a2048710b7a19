//! The macro that turns the table of kinds into `Spec`, its keys, its reader, its boxed face and the built-in job files.

/// `kinds! { key: Type, … }`: the order is the order of help, schema and documents.
macro_rules! kinds {
    ($($key:ident: $module:ident::$type:ident,)*) => {
        /// A job's parameters, by kind.
        #[derive(Debug)]
        pub enum Spec { $(
            #[doc = concat!("A `", stringify!($key), "` job.")]
            $type($module::$type),
        )* }

        /// All kinds, in the table's order.
        pub static KINDS: &[Facts] = &[$(Facts {
            name: stringify!($key),
            service: <$module::$type as Kind>::SERVICE,
            main: <$module::$type as Kind>::MAIN,
            measures: <$module::$type as Kind>::MEASURES,
            metrics: <$module::$type as Kind>::METRICS,
            usual: <$module::$type as Kind>::USUAL,
            schema: |generator| generator.subschema_for::<$module::$type>(),
        },)*];

        /// The job file of each kind, `jobs/KIND.yaml`, inside the binary: its name and its text, in the table's order.
        pub static EXAMPLES: &[(&str, &str)] = &[$((
            concat!(stringify!($key), ".yaml"),
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/jobs/", stringify!($key), ".yaml")),
        ),)*];

        impl Spec {
            /// Reads the parameters under a kind's key; `None` where there is no such kind.
            pub fn read<'de, D>(key: &str, parameters: D) -> Option<Result<Self, D::Error>>
            where
                D: serde::Deserializer<'de>,
            {
                match key {
                    $(stringify!($key) => Some(
                        <$module::$type as serde::Deserialize>::deserialize(parameters).map(Self::$type)
                    ),)*
                    _ => None,
                }
            }
        }

        impl Room for Spec {
            fn facts(&self) -> &'static Facts {
                let name = match self { $(Self::$type(_) => stringify!($key),)* };
                KINDS.iter().find(|facts| facts.name == name).unwrap_or(&KINDS[0])
            }
            fn check(&self, report: &mut Report) {
                match self { $(Self::$type(room) => Kind::check(room, report),)* }
            }
            fn listens(&self) -> Vec<Listen> {
                match self { $(Self::$type(room) => Kind::listens(room),)* }
            }
            fn refers(&self) -> Vec<(String, &JobName)> {
                match self { $(Self::$type(room) => Kind::refers(room),)* }
            }
            fn watches(&self) -> Vec<(String, &JobName)> {
                match self { $(Self::$type(room) => Kind::watches(room),)* }
            }
            fn longest(&self) -> Option<Duration> {
                match self { $(Self::$type(room) => Kind::longest(room),)* }
            }
            fn longer(&self) -> Duration {
                match self { $(Self::$type(room) => Kind::longer(room),)* }
            }
            fn is_unbounded(&self) -> bool {
                match self { $(Self::$type(room) => Kind::is_unbounded(room),)* }
            }
            fn needs_icmp(&self) -> bool {
                match self { $(Self::$type(room) => Kind::needs_icmp(room),)* }
            }
            fn needs_raw(&self) -> bool {
                match self { $(Self::$type(room) => Kind::needs_raw(room),)* }
            }
            fn open_files(&self, allowed: u64) -> Option<Result<u64, Error>> {
                match self { $(Self::$type(room) => Kind::open_files(room, allowed),)* }
            }
            fn forecast(&self, around: &Surroundings) -> Result<Option<Forecast>, Error> {
                match self { $(Self::$type(room) => Kind::forecast(room, around),)* }
            }
            fn run<'a>(&'a self, cx: &'a Context) -> Running<'a> {
                match self { $(Self::$type(room) => Box::pin(Kind::run(room, cx)),)* }
            }
        }
    };
}
