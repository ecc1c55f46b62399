import Foundation
import Testing

@testable import openfood_api

/// Generated products against the published figures.
struct ProductGeneratorTests {
    private struct Answer: Decodable {
        struct Row: Decodable {
            var row_idx: Int
            var row: Product
        }
        struct Product: Decodable {
            struct Text: Decodable {
                var lang: String
                var text: String
            }
            struct Nutriment: Decodable {
                var name: String
                var value: Double?
                var unit: String?
            }
            var code: String
            var nutriscore_grade: String?
            var categories_tags: [String]?
            var brands_tags: [String]?
            var packaging_tags: [String]?
            var additives_tags: [String]?
            var nova_groups_tags: [String]?
            var product_name: [Text]
            var nutriments: [Nutriment]?
        }
        var rows: [Row]
        var num_rows_total: Int
        var num_rows_per_page: Int
        var partial: Bool
    }

    private func answer(_ generator: ProductGenerator, _ offset: Int, _ length: Int) throws -> Answer {
        try JSONDecoder().decode(Answer.self, from: Data(generator.page(offset: offset, length: length)))
    }

    @Test func `a row has the same bytes in every page that contains it`() throws {
        let generator = ProductGenerator(seed: 7, rowCount: 1000)
        var one: [UInt8] = []
        try generator.appendRows(140..<141, to: &one)
        var many: [UInt8] = []
        try generator.appendRows(130..<170, to: &many)
        #expect(String(decoding: many, as: UTF8.self).contains(String(decoding: one, as: UTF8.self)))
        #expect(
            try generator.page(offset: 3, length: 20)
                == ProductGenerator(seed: 7, rowCount: 1000).page(offset: 3, length: 20))
        #expect(
            try generator.page(offset: 3, length: 20)
                != ProductGenerator(seed: 8, rowCount: 1000).page(offset: 3, length: 20))
    }

    @Test func `any offset up to the last is answered and beyond it the page is empty`() throws {
        let generator = ProductGenerator(seed: 1)
        let last = try answer(generator, 3_808_250, 100)
        #expect(last.rows.map(\.row_idx) == Array(3_808_250..<3_808_300))
        #expect(last.num_rows_total == 3_808_300)
        let beyond = try answer(generator, 3_808_300, 100)
        #expect(beyond.rows.isEmpty)
        #expect(beyond.num_rows_per_page == 100)
        #expect(!beyond.partial)
        #expect(try answer(generator, .max, 100).rows.isEmpty)
    }

    @Test func `every row has all columns in the order of the features`() throws {
        let text = String(
            decoding: try ProductGenerator(seed: 3, rowCount: 50).page(offset: 0, length: 50), as: UTF8.self)
        let object = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
        let features = (object?["features"] as? [[String: Any]])?.compactMap { $0["name"] as? String }
        #expect(features == ProductSchema.columns.map(\.name))
        #expect(features?.count == 111)
        for row in object?["rows"] as? [[String: Any]] ?? [] {
            #expect(Set((row["row"] as? [String: Any] ?? [:]).keys) == Set(features ?? []))
        }
        // Keys that are in no nested object must come in order.
        let first = text.range(of: #""row":{"#).map { text[$0.upperBound...] } ?? ""
        let positions = [
            "additives_n", "brands_tags", "code", "ingredients", "nutriments", "product_name", "schema_version",
        ]
        .compactMap { first.range(of: "\"\($0)\":")?.lowerBound }
        #expect(positions.count == 7)
        #expect(positions == positions.sorted())
    }

    @Test func `the distributions are those that were published`() throws {
        let count = 4000
        let generator = ProductGenerator(seed: 1, rowCount: count)
        var rows: [Answer.Product] = []
        var bytes: [Int] = []
        for offset in stride(from: 0, to: count, by: 100) {
            let page = try generator.page(offset: offset, length: 100)
            bytes.append(page.count)
            rows += try JSONDecoder().decode(Answer.self, from: Data(page)).rows.map(\.row)
        }
        func share(_ condition: (Answer.Product) -> Bool) -> Double {
            Double(rows.count(where: condition)) / Double(count)
        }
        func mean(_ size: (Answer.Product) -> Int) -> Double {
            Double(rows.reduce(0) { $0 + size($1) }) / Double(count)
        }
        // Pages of complete documents: 1.49–2.02 MB, 1.746 MB on average.
        #expect((1_600_000...1_900_000).contains(bytes.reduce(0, +) / bytes.count))
        #expect(bytes.allSatisfy { (1_300_000...2_300_000).contains($0) })
        // Bar codes are unique and in the order of text.
        #expect(rows.map(\.code) == Set(rows.map(\.code)).sorted())
        #expect(abs(share { $0.code.utf8.count == 8 } - 0.026) < 0.01)
        // Null, empty.
        #expect(abs(share { $0.categories_tags == nil } - 0.35) < 0.03)
        #expect(abs(share { $0.categories_tags == [] } - 0.04) < 0.015)
        #expect(abs(share { $0.brands_tags == nil } - 0.14) < 0.02)
        #expect(abs(share { $0.packaging_tags == nil } - 0.75) < 0.03)
        #expect(abs(share { $0.additives_tags == nil } - 0.43) < 0.03)
        #expect(abs(share { $0.additives_tags == [] } - 0.21) < 0.03)
        #expect(abs(share { $0.nutriments == nil } - 0.18) < 0.03)
        #expect(abs(share { $0.product_name.isEmpty } - 0.035) < 0.015)
        #expect(abs(share { $0.nutriscore_grade == nil } - 0.004) < 0.004)
        #expect(share { ($0.nutriscore_grade == nil) != ($0.nova_groups_tags == nil) } == 0)
        // The joint table.
        #expect(abs(share { $0.nutriscore_grade == "unknown" && $0.nova_groups_tags == ["unknown"] } - 0.444) < 0.03)
        // Entries a row.
        #expect(abs(mean { $0.nutriments?.count ?? 0 } - 11.76) < 1)
        #expect(abs(mean { $0.product_name.count } - 2.35) < 0.15)
        #expect(abs(mean { $0.additives_tags?.count ?? 0 } - 1.37) < 0.3)
        #expect(abs(mean { $0.categories_tags?.count ?? 0 } - 3.81) < 0.4)
        // `value` is null in the new layout.
        let sugars = rows.flatMap { $0.nutriments ?? [] }.filter { $0.name == "sugars" }
        #expect(abs(Double(sugars.count { $0.value == nil }) / Double(sugars.count) - 0.2) < 0.03)
        #expect(sugars.compactMap(\.value).allSatisfy { Double(Float($0)) == $0 })
    }
}
