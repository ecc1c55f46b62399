import DataflowEndToEnd
import Foundation

/// A PostgreSQL of its own behind a proxy, with what can go wrong between it and the program.
final class DisturbedDatabase {
    static let faults: [Fault.Kind] = [.connectionCut, .backendTerminated, .databaseDown]

    private let folder: TemporaryFolder
    private let server: PrivateServer
    let database: TestDatabase
    private let proxy: CuttingProxy
    /// By way of the proxy.
    let url: String

    init() throws {
        folder = try TemporaryFolder()
        server = try PrivateServer(folder: folder.path + "/postgres")
        database = try TestDatabase(TestServer(url: server.url))
        guard var url = URLComponents(string: database.url), let port = url.port.flatMap(UInt16.init(exactly:)) else {
            throw ChildProcess.Failure(description: "\(database.url) names no port")
        }
        proxy = try CuttingProxy(to: port)
        url.port = Int(proxy.port)
        self.url = url.string ?? ""
    }

    deinit { proxy.close() }

    func begin(_ fault: Fault) throws {
        switch fault {
        case .connectionCut: proxy.cut()
        case .backendTerminated:
            try database.query(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
            )
        case .databaseDown: try server.stop()
        default: break
        }
    }

    func end(_ fault: Fault) throws {
        if case .databaseDown = fault { try server.start() }
    }

    func rows(of tables: [String]) throws -> [String: [String]] {
        var found: [String: [String]] = [:]
        // By bytes, as the harness compares.
        for table in tables {
            found[table] = try database.query("select r::text from \(table) r order by r::text collate \"C\"")
        }
        return found
    }
}

/// `Tests/Resources/chaos/postgres.yaml`.
package final class PostgresScenario: Scenario {
    package static let name = "postgres"
    package static let faults = FilesScenario.faults + DisturbedDatabase.faults

    private let database: DisturbedDatabase

    package init(rows: Int) throws { database = try DisturbedDatabase() }

    package var pipeline: String { "\(Repository.root)/Tests/Resources/chaos/postgres.yaml" }
    package var environment: [String: String?] { ["PG_URL": database.url] }

    package func begin(_ fault: Fault) throws { try database.begin(fault) }
    package func end(_ fault: Fault) throws { try database.end(fault) }

    package func output() throws -> [String: [String]] {
        try database.rows(of: ["rows", "windows", "totals", "best"])
    }
}

/// `pipelines/openfood.yaml`: one product for ten rows, from an API that fails often.
package final class OpenFoodScenario: Scenario {
    package static let name = "openfood"
    package static let faults = PostgresScenario.faults

    private let database: DisturbedDatabase
    private let api: StandInAPI
    private let products: Int
    private static let page = 50

    package init(rows: Int) throws {
        // No more than fit into a plan: an API that fails often is slow.
        products = min(6000, max(100, rows / 10))
        database = try DisturbedDatabase()
        api = try StandInAPI(
            rows: products,
            faults: ["429:0.02", "500:0.02", "503-html:0.02", "cut:0.02", "slow:0.02", "revision:0.01"])
    }

    package var pipeline: String { "\(Repository.root)/pipelines/openfood.yaml" }
    package var environment: [String: String?] {
        [
            "OPENFOOD_URL": api.url, "PG_URL": database.url, "MAX_OFFSET": "\(products)",
            "BATCH_LENGTH": "\(OpenFoodScenario.page)",
        ]
    }

    package func arguments(lasting: Duration?) -> [String] {
        let pages = products / OpenFoodScenario.page
        return [
            "nodes.pages.rate_limit=\(lasting.map { max(1, Int(.seconds(60) * pages / $0)) } ?? 600_000)/min",
            "nodes.pages.timeout=2s",
            "checkpoint.interval=100ms",
            "restart.attempts=1000", "restart.backoff=20ms", "restart.max_backoff=200ms",
        ].flatMap { ["--set", $0] }
    }

    package func begin(_ fault: Fault) throws { try database.begin(fault) }
    package func end(_ fault: Fault) throws { try database.end(fault) }

    package func output() throws -> [String: [String]] {
        try database.rows(of: [
            "nutriscore_counts", "category_counts", "brand_counts", "packaging_distribution",
            "nova_group_classification", "top_additive_products", "top_sugary_products_by_category",
        ])
    }
}
