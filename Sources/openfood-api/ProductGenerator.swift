import Glibc

/// Products that follow the published distributions of the split `food`, without keeping any.
///
/// Row i depends on the seed and on i alone (and on the number of rows, from which the number of brands follows), so any
/// offset is answered at once and a page has the same rows whatever its length.
struct ProductGenerator: RowSource {
    static let defaultRowCount = 3_808_300
    /// Bar codes have thirteen digits, two million apart.
    static let maxRowCount = 4_999_999

    let seed: UInt64
    let rowCount: Int
    let vocabulary = ProductVocabulary()
    let columns: [Column]

    var head: [UInt8] { ProductSchema.head }

    init(seed: UInt64, rowCount: Int = defaultRowCount) {
        self.seed = seed
        self.rowCount = rowCount
        columns = ProductSchema.columns.enumerated().map { index, column in
            Column(
                key: Array(#"\#(index == 0 ? "{" : ",")"\#(column.name)":"#.utf8),
                content: Self.content[column.name] ?? .constant("null"))
        }
    }

    func appendRows(_ rows: Range<Int>, to body: inout [UInt8]) throws {
        var writer = JSONWriter(bytes: body)
        body = []
        for row in rows {
            if row > rows.lowerBound { writer.raw(",") }
            writer.raw(#"{"row_idx":"#)
            writer.integer(row)
            writer.raw(#","row":"#)
            append(product(row), to: &writer)
            writer.raw(#","truncated_cells":[]}"#)
        }
        body = writer.bytes
    }
}

extension ProductGenerator {
    struct Text {
        var language: String
        var text: String
    }

    /// What the pipeline reads of a product, and what other columns must agree with.
    struct Product {
        var code = ""
        var grade: String?
        /// An index of `ProductVocabulary.novaTags`; 4 is unknown.
        var nova: Int?
        var categories: [String]?
        var brands: [String]?
        var packagings: [String]?
        var additives: [String]?
        var names: [Text] = []
        var language = "en"
        /// Layout 1003: `value` is null.
        var isNewLayout = false
        var hasIngredients = false
        /// For the columns that nobody reads.
        var random: RandomBits
    }

    func product(_ row: Int) -> Product {
        var random = RandomBits(seed: seed, stream: UInt64(row))
        var product = Product(random: random)
        product.code = code(row, &random)
        (product.grade, product.nova) = gradeAndNova(&random)
        product.categories = categories(&random)
        product.brands = brands(&random)
        product.packagings = packagings(&random)
        product.additives = additives(&random)
        product.language = language(&random)
        product.names = names(product.language, &random)
        product.isNewLayout = random.chance(0.2)
        product.hasIngredients = random.chance(0.56)
        product.random = random
        return product
    }

    private func code(_ row: Int, _ random: inout RandomBits) -> String {
        let stride = 2_000_000
        var digits = String(row * stride + random.index(stride))
        digits = String(repeating: "0", count: max(13 - digits.count, 0)) + digits
        let draw = random.unit()
        // A stride is more than the five digits that are cut, so these are unique and in order too.
        if draw < 0.026 { return String(digits.prefix(8)) }
        if draw < 0.0262 {
            for _ in 0...random.index(11) { digits += String(random.index(10)) }
        }
        return digits
    }

    private func gradeAndNova(_ random: inout RandomBits) -> (String?, Int?) {
        if random.chance(0.004) { return (nil, nil) }
        let table = ProductVocabulary.gradeAndNova
        var draw = random.unit() * 7133
        for row in table {
            for (nova, count) in row.counts.enumerated() {
                draw -= count
                if draw < 0 { return (row.grade, nova) }
            }
        }
        return ("unknown", 4)
    }

    private func categories(_ random: inout RandomBits) -> [String]? {
        let draw = random.unit()
        if draw < 0.35 { return nil }
        if draw < 0.39 { return [] }
        let kind = random.unit()
        if kind < 0.04 { return ["en:null"] }
        if kind < 0.05 { return ["en:undefined"] }
        let prefix = kind < 0.07 ? ["es", "fr", "nl", "pt", "de"][random.index(5)] : "en"
        // The head holds nearly all.
        let first: String
        if random.chance(0.955) {
            first =
                vocabulary.categories.tags[vocabulary.categories.index(at: random.unit() * vocabulary.categories.total)]
        } else {
            first = vocabulary.category(random.zipf(40_000, exponent: 0.9))
        }
        var tags = ["\(prefix):\(first)"]
        let count = random.count([1, 1, 4, 6, 9, 13, 17, 27])
        while tags.count < count { tags.append("en:" + vocabulary.category(random.zipf(4000, exponent: 1.3))) }
        return tags
    }

    private func brands(_ random: inout RandomBits) -> [String]? {
        let draw = random.unit()
        if draw < 0.14 { return nil }
        if draw < 0.15 { return [] }
        let prefix = random.chance(0.3) ? "xx:" : ""
        let kind = random.unit()
        let count = kind < 0.9 ? 1 : kind < 0.99 ? 2 : 3 + random.index(3)
        return (0..<count).map { _ in prefix + vocabulary.brand(random.zipf(max(rowCount / 4, 1), exponent: 0.7)) }
    }

    private func packagings(_ random: inout RandomBits) -> [String]? {
        let draw = random.unit()
        if draw < 0.75 { return nil }
        if draw < 0.86 { return [] }
        let table = vocabulary.packagings
        return (0..<random.count([1, 1, 1, 1, 2, 5, 7, 11])).map { _ in
            table.tags[table.index(at: random.unit() * table.total)]
        }
    }

    private func additives(_ random: inout RandomBits) -> [String]? {
        let draw = random.unit()
        if draw < 0.43 { return nil }
        if draw < 0.64 { return [] }
        let table = vocabulary.additives
        let count = random.count([1, 1, 2, 4, 6, 10, 15, 22])
        var chosen: [Int] = []
        while chosen.count < count {
            let index = table.index(at: random.unit() * table.total)
            if !chosen.contains(index) { chosen.append(index) }
        }
        return chosen.map { table.tags[$0] }
    }

    private func language(_ random: inout RandomBits) -> String {
        var draw = random.unit()
        for language in vocabulary.languages {
            draw -= language.share
            if draw < 0 { return language.code }
        }
        return "en"
    }

    private func names(_ language: String, _ random: inout RandomBits) -> [Text] {
        if random.chance(0.035) { return [] }
        let name: String
        if random.chance(0.13) {
            // One of the names that several products have.
            var shared = RandomBits(seed: 3, stream: UInt64(random.zipf(max(rowCount / 40, 1), exponent: 0.6)))
            name = self.name(&shared)
        } else {
            name = self.name(&random)
        }
        var texts: [Text] = []
        // In a few products the main name is missing though others are there.
        if !random.chance(0.02) { texts.append(Text(language: "main", text: name)) }
        texts.append(Text(language: language, text: name))
        if random.chance(0.28) {
            let kind = random.unit()
            let more = kind < 0.72 ? 1 : kind < 0.93 ? 2 : kind < 0.97 ? 3 : 4 + random.index(14)
            for _ in 0..<more { texts.append(Text(language: self.language(&random), text: self.name(&random))) }
        }
        return texts
    }

    private func name(_ random: inout RandomBits) -> String {
        let length = min(21 * exp(0.55 * random.normal()), 250)
        let isAccented = random.chance(0.16)
        var text = ""
        while Double(text.utf8.count) < length - 3 {
            if !text.isEmpty { text += " " }
            if isAccented, random.chance(0.4) || text.isEmpty {
                text += vocabulary.accented[random.index(vocabulary.accented.count)]
            } else {
                let word = vocabulary.words[random.index(vocabulary.words.count)]
                text += text.isEmpty || random.chance(0.5) ? word.prefix(1).uppercased() + word.dropFirst() : word
            }
        }
        if random.chance(0.001) { text += " \"\(1 + random.index(9))00 g\"" }
        return text.isEmpty ? vocabulary.words[random.index(vocabulary.words.count)] : text
    }
}
