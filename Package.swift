// swift-tools-version: 6.2
import PackageDescription

/// The same settings for every Swift target: Swift 6 mode, the upcoming features of the newest packages, no warnings.
let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InferIsolatedConformances"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .treatAllWarnings(as: .error),
]

func room(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: settings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], path: String? = nil, exclude: [String] = []) -> Target {
    .testTarget(name: name, dependencies: dependencies, path: path, exclude: exclude, swiftSettings: settings)
}

/// One folder an operator: `plugins/<name>/{Sources,Tests,README.md}`. A plugin sees the contract and what it re-exports.
struct PluginFolder {
    var name: String
    var module: String
    var libraries: [Target.Dependency] = []
    /// What only its tests need.
    var testLibraries: [Target.Dependency] = []

    var targets: [Target] {
        [
            .target(
                name: module, dependencies: ["DataflowOperator", log] + libraries, path: "plugins/\(name)/Sources",
                swiftSettings: settings),
            tests(
                "\(module)Tests",
                [
                    .byName(name: module), "DataflowTesting", "DataflowRuntime", "DataflowPipeline",
                    "DataflowCheckpoint", "DataflowOperator",
                    log,
                ] + libraries + testLibraries,
                path: "plugins/\(name)/Tests"),
        ]
    }
}

let log = Target.Dependency.product(name: "Logging", package: "swift-log")
let contract: [Target.Dependency] = ["DataflowColumnar", "DataflowExpression", "DataflowConfig"]

let plugins = [
    PluginFolder(
        name: "http-server-source", module: "HTTPServerSource", libraries: contract + ["CEpoll", "CSimdJSON", "CZlib"]),
    PluginFolder(
        name: "http-source", module: "HTTPSource", libraries: contract + ["DataflowHTTP", "CCurl", "CSimdJSON"]),
    PluginFolder(name: "file-source", module: "FileSource", libraries: contract + ["DataflowFiles"]),
    PluginFolder(
        name: "kafka-source", module: "KafkaSource", libraries: contract + ["CKafka", "DataflowKafka"],
        testLibraries: ["DataflowKafkaTesting", "DataflowCodec", "JSONParse"]),
    PluginFolder(name: "generate-source", module: "GenerateSource", libraries: contract),
    PluginFolder(name: "json-parse", module: "JSONParse", libraries: contract + ["DataflowCodec", "CSimdJSON"]),
    PluginFolder(name: "json-encode", module: "JSONEncode", libraries: contract + ["DataflowCodec", "DataflowText"]),
    PluginFolder(
        name: "avro", module: "Avro",
        libraries: contract + ["DataflowCodec", "DataflowSchemaRegistry", "DataflowText"]),
    PluginFolder(
        name: "protobuf", module: "Protobuf",
        libraries: contract + ["DataflowCodec", "DataflowSchemaRegistry", "DataflowText", "CProtobuf"]),
    PluginFolder(name: "csv-parse", module: "CSVParse", libraries: contract + ["DataflowCodec", "DataflowFiles"]),
    PluginFolder(name: "select", module: "Select", libraries: contract),
    PluginFolder(name: "explode", module: "Explode", libraries: contract),
    PluginFolder(name: "window-agg", module: "WindowAgg", libraries: contract),
    PluginFolder(name: "top-n", module: "TopN", libraries: contract),
    PluginFolder(name: "join", module: "Join", libraries: contract),
    PluginFolder(name: "dedupe", module: "Dedupe", libraries: contract),
    PluginFolder(name: "union", module: "Union", libraries: contract),
    PluginFolder(name: "sample", module: "Sample", libraries: contract),
    PluginFolder(name: "split", module: "Split", libraries: contract),
    PluginFolder(name: "lookup", module: "Lookup", libraries: contract + ["DataflowFiles", "DataflowPostgres"]),
    PluginFolder(
        name: "pg-sink", module: "PgSink", libraries: contract + ["DataflowEpochs", "DataflowPostgres", "DataflowText"]),
    PluginFolder(
        name: "sqlite-sink", module: "SQLiteSink",
        libraries: contract + ["CSQLite", "DataflowEpochs", "DataflowText"]),
    PluginFolder(
        name: "kafka-sink", module: "KafkaSink",
        libraries: contract + ["CKafka", "DataflowEpochs", "DataflowKafka", "DataflowText"],
        testLibraries: ["DataflowKafkaTesting"]),
    PluginFolder(name: "file-sink", module: "FileSink", libraries: contract + ["DataflowText"]),
    PluginFolder(name: "stdout-sink", module: "StdoutSink", libraries: contract + ["DataflowText"]),
]

let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let flyingFox: [Target.Dependency] = [
    .product(name: "FlyingFox", package: "FlyingFox"), .product(name: "FlyingSocks", package: "FlyingFox"),
]

let package = Package(
    name: "dataflow",
    products: [
        .executable(name: "dataflow", targets: ["dataflow"]),
        .executable(name: "openfood-api", targets: ["openfood-api"]),
        .library(name: "DataflowOperator", targets: ["DataflowOperator"]),
        .library(name: "DataflowTesting", targets: ["DataflowTesting"]),
        .library(name: "CFaults", type: .dynamic, targets: ["CFaults"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/swhitty/FlyingFox", from: "0.27.1"),
    ],
    targets: [
        // System libraries, found by pkg-config.
        .systemLibrary(name: "CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
        .systemLibrary(name: "CPostgreSQL", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
        .systemLibrary(name: "CKafka", pkgConfig: "rdkafka", providers: [.apt(["librdkafka-dev"])]),
        .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
        .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "CEpoll"),
        .systemLibrary(name: "CMalloc"),
        // C headers over C++ libraries.
        .target(name: "CSimdJSON", linkerSettings: [.linkedLibrary("simdjson")]),
        .target(name: "CRE2", linkerSettings: [.linkedLibrary("re2")]),
        // Linked into the program: what is needed of it is small, and costs less at each start than a library to load.
        .target(name: "CProtobuf", linkerSettings: [.linkedLibrary(":libprotobuf.a"), .linkedLibrary("z")]),
        // The engine.
        room("DataflowColumnar"),
        room("DataflowText", ["DataflowColumnar"]),
        room("DataflowExpression", ["DataflowColumnar", "CRE2"]),
        room("DataflowConfig"),
        room("DataflowOperator", contract + ["DataflowText", log]),
        // What several plugins share: columns from messages and back, files in records, connections to PostgreSQL and
        // Kafka.
        room("DataflowCodec", contract + ["DataflowOperator", "DataflowText", "CSimdJSON"]),
        room("DataflowHTTP", ["CCurl"]),
        room("DataflowSchemaRegistry", contract + ["DataflowCodec", "DataflowHTTP", "DataflowOperator", "CCurl"]),
        room("DataflowFiles", ["DataflowColumnar", "DataflowOperator", "CZlib"]),
        room("DataflowPostgres", ["DataflowOperator", "CPostgreSQL"]),
        room("DataflowKafka", ["DataflowOperator", "CKafka", log]),
        // What sinks with a two-phase commit share: the epoch's rows on disk, and the marker at the target.
        room("DataflowEpochs", ["DataflowColumnar", "DataflowOperator", log]),
        room("DataflowPipeline", contract + ["DataflowOperator", "CYAML"]),
        room("DataflowCheckpoint", ["DataflowColumnar", "DataflowOperator", "CZlib"]),
        room(
            "DataflowRuntime",
            contract + ["DataflowOperator", "DataflowPipeline", "DataflowCheckpoint", "DataflowText", "CMalloc", log]),
        room(
            "DataflowTesting",
            contract + [
                "DataflowOperator", "DataflowPipeline", "DataflowCheckpoint", "DataflowRuntime", "DataflowCodec",
                "DataflowText", log,
            ]),
        // Brokers for the tests of what talks to Kafka.
        room("DataflowKafkaTesting", ["DataflowKafka", "DataflowOperator", "CKafka", log]),
        room("DataflowBuiltins", ["DataflowOperator"] + plugins.map { .byName(name: $0.module) }),
        room(
            "DataflowCLI",
            contract + [
                "DataflowOperator", "DataflowPipeline", "DataflowCheckpoint", "DataflowRuntime", arguments, log,
            ]),
        .executableTarget(
            name: "dataflow", dependencies: ["DataflowCLI", "DataflowBuiltins"], swiftSettings: settings),
        .executableTarget(
            name: "openfood-api", dependencies: flyingFox + [arguments, "CZlib"], swiftSettings: settings),
        // Benchmarks: each checks its answer. Built in release mode only: swift run -c release bench-json-parse …
        .executableTarget(
            name: "bench-json-parse",
            dependencies: ["JSONParse", "DataflowCodec", "DataflowText", "DataflowOperator", log] + contract,
            path: "Benchmarks/json-parse", swiftSettings: settings),
        .executableTarget(
            name: "bench-codecs",
            dependencies: [
                "Avro", "Protobuf", "JSONParse", "JSONEncode", "DataflowCodec", "DataflowSchemaRegistry",
                "DataflowText",
                "DataflowOperator", log,
            ] + contract, path: "Benchmarks/codecs", swiftSettings: settings),
        .executableTarget(
            name: "bench-http-source", dependencies: ["HTTPSource", "DataflowOperator", log] + contract,
            path: "Benchmarks/http-source", swiftSettings: settings),
        .executableTarget(
            name: "bench-http-server-source", dependencies: ["HTTPServerSource", "DataflowOperator", log] + contract,
            path: "Benchmarks/http-server-source", swiftSettings: settings),
        .executableTarget(
            name: "bench-kafka-source",
            dependencies: [
                "KafkaSource", "JSONParse", "DataflowCodec", "DataflowKafka", "DataflowKafkaTesting", "CKafka",
                "DataflowOperator", log,
            ]
                + contract,
            path: "Benchmarks/kafka-source", swiftSettings: settings),
        .executableTarget(
            name: "bench-pg-sink", dependencies: contract + ["DataflowOperator", "DataflowPostgres", "PgSink", log],
            path: "Benchmarks/pg-sink", swiftSettings: settings),
        .executableTarget(
            name: "bench-window-agg", dependencies: ["WindowAgg", "TopN", "DataflowOperator", log] + contract,
            path: "Benchmarks/window-agg", swiftSettings: settings),
        .executableTarget(
            name: "bench-operators",
            dependencies: ["Dedupe", "TopN", "Sample", "Split", "Union", "DataflowOperator", log] + contract,
            path: "Benchmarks/operators", swiftSettings: settings),
        .executableTarget(
            name: "bench-join", dependencies: ["Join", "DataflowOperator", log] + contract,
            path: "Benchmarks/join", swiftSettings: settings),
        .executableTarget(
            name: "bench-big-state", dependencies: ["WindowAgg", "DataflowOperator", log] + contract,
            path: "Benchmarks/big-state", swiftSettings: settings),
        .executableTarget(
            name: "bench-file-source", dependencies: ["FileSource", "DataflowOperator", log] + contract,
            path: "Benchmarks/file-source", swiftSettings: settings),
        .executableTarget(
            name: "bench-lookup", dependencies: ["Lookup", "DataflowOperator", log] + contract,
            path: "Benchmarks/lookup", swiftSettings: settings),
        .executableTarget(
            name: "bench-micro",
            dependencies: contract + [
                "DataflowOperator", "DataflowPipeline", "DataflowRuntime", "DataflowCodec", "CSimdJSON",
                "JSONParse", "PgSink", "WindowAgg", log,
            ],
            path: "Benchmarks/micro", swiftSettings: settings),
        .executableTarget(
            name: "bench-expression", dependencies: ["DataflowExpression", "DataflowColumnar"],
            path: "Benchmarks/expression", swiftSettings: settings),
        // Tests mirror the sources.
        tests("DataflowColumnarTests", ["DataflowColumnar"]),
        tests("DataflowCodecTests", ["DataflowCodec"] + contract),
        tests("DataflowTextTests", ["DataflowText", "DataflowColumnar"]),
        tests("DataflowExpressionTests", ["DataflowExpression", "DataflowColumnar"]),
        tests("DataflowConfigTests", ["DataflowConfig"]),
        tests("DataflowOperatorTests", ["DataflowOperator"] + contract),
        tests("DataflowEpochsTests", ["DataflowEpochs", "DataflowOperator"]),
        tests(
            "DataflowPipelineTests", ["DataflowPipeline", "DataflowOperator", "DataflowBuiltins"] + contract,
            exclude: ["BadPipelines"]),
        tests(
            "DataflowCLITests", ["DataflowCLI", "DataflowOperator", "DataflowBuiltins", "DataflowTesting"] + contract,
            exclude: ["Golden"]),
        tests("DataflowKafkaTests", ["DataflowKafka", "DataflowKafkaTesting", "DataflowOperator", "CKafka", log]),
        tests("DataflowCheckpointTests", ["DataflowCheckpoint", "DataflowOperator", "DataflowColumnar"]),
        tests(
            "DataflowRuntimeTests",
            ["DataflowRuntime", "DataflowTesting", "DataflowPipeline", "DataflowCheckpoint", "DataflowOperator", log]
                + contract),
        // Programs, servers and folders that the end-to-end tests start.
        .target(name: "DataflowEndToEnd", path: "Tests/EndToEnd", swiftSettings: settings),
        // Pipelines under faults: the harness, and a library that is preloaded into the program.
        .target(name: "CFaults", path: "Tests/CFaults", linkerSettings: [.linkedLibrary("dl")]),
        .target(
            name: "DataflowChaos",
            dependencies: [
                "CSQLite", "DataflowEndToEnd", "DataflowKafkaTesting", "DataflowTesting", "DataflowOperator",
            ],
            path: "Tests/Chaos", swiftSettings: settings),
        .executableTarget(
            name: "dataflow-chaos", dependencies: ["DataflowChaos", "DataflowEndToEnd", "dataflow", arguments],
            path: "Tests/dataflow-chaos", swiftSettings: settings),
        tests("OpenFoodAPITests", ["openfood-api", "CZlib"] + flyingFox),
        tests(
            "PipelineTests",
            [
                "dataflow", "openfood-api", "CSQLite", "DataflowEndToEnd", "DataflowKafkaTesting", "DataflowChaos",
                "DataflowTesting",
                "DataflowRuntime",
                "DataflowPipeline", "DataflowCheckpoint", "DataflowOperator", "DataflowBuiltins", "Select", "WindowAgg",
                log,
            ] + contract),
    ] + plugins.flatMap(\.targets)
)
