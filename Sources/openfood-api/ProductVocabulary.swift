/// The words and tags of generated products; made once, the same in every run.
struct ProductVocabulary: Sendable {
    /// Tags that are already JSON strings, with the quotes.
    struct Tags: Sendable {
        var quoted: [[UInt8]]

        init(_ tags: [String]) {
            quoted = tags.map { Array("\"\($0)\"".utf8) }
        }
    }

    /// A table of tags drawn by weight.
    struct Weighted: Sendable {
        let tags: [String]
        private let limits: [Double]

        init(_ entries: [(String, Double)]) {
            tags = entries.map(\.0)
            var sum = 0.0
            limits = entries.map { entry in
                sum += entry.1
                return sum
            }
        }

        var total: Double { limits.last ?? 0 }

        /// The index of the entry at `draw`, which is in 0..<total.
        func index(at draw: Double) -> Int {
            var low = 0
            var high = limits.count - 1
            while low < high {
                let middle = (low + high) / 2
                if limits[middle] > draw { high = middle } else { low = middle + 1 }
            }
            return low
        }
    }

    let words = Self.wordList
    let accented = Self.accentedList
    let categories = Self.categoryHead
    let additives: Weighted
    let packagings: Weighted
    let brands = Self.brandHead
    let ingredientTags: Tags
    let miscTags: Tags
    let warningTags: Tags
    let infoTags: Tags
    let popularityTags: Tags
    let statesDone: Tags
    let statesOpen: Tags
    let contributors: Tags
    let countries: Tags
    let nutrients = Self.nutrientList
    let nutrientKeys: [[UInt8]]
    let languages: [(code: String, share: Double)] = [
        ("en", 0.5), ("es", 0.25), ("fr", 0.1), ("it", 0.035), ("nl", 0.025), ("pt", 0.025), ("de", 0.02),
        ("zh", 0.012),
        ("ro", 0.008), ("pl", 0.008), ("cs", 0.006), ("ru", 0.006), ("ar", 0.005),
    ]

    init() {
        var random = RandomBits(seed: 2, stream: 0x70C)
        let words = Self.wordList

        // The head with its published counts, then the other codes with the slope of the head.
        var additives = Self.additiveHead.map { ($0.0, Double($0.1)) }
        let known = Set(additives.map(\.0))
        let suffixes = ["", "", "", "", "", "i", "ii", "a", "b", "xx"]
        while additives.count < 216 {
            let tag = "en:e\(100 + random.index(1400))\(suffixes[random.index(suffixes.count)])"
            if !known.contains(tag) { additives.append((tag, 0.1 + 3 * random.unit())) }
        }
        self.additives = Weighted(additives)

        var packagings = Self.packagingHead.map { ($0.0, Double($0.1)) }
        let languages = ["en", "en", "es", "fr", "de", "pt"]
        for index in 0..<400 {
            let tag = "\(languages[random.index(languages.count)]):\(words[random.index(words.count)])-\(index)"
            packagings.append((tag, 1))
        }
        self.packagings = Weighted(packagings)

        func tags(_ count: Int, _ make: (inout RandomBits) -> String) -> Tags {
            Tags((0..<count).map { _ in make(&random) })
        }
        func word(_ random: inout RandomBits) -> String { words[random.index(words.count)] }
        ingredientTags = tags(2000) { random in
            random.chance(0.5) ? "en:\(word(&random))" : "en:\(word(&random))-\(word(&random))"
        }
        miscTags = tags(300) { random in
            "en:\(["nutriscore", "environmental-score", "nutrition", "packagings", "main-countries"][random.index(5)])-"
                + "\(["missing-data", "computed", "not-computed", "no", "without"][random.index(5)])-"
                + "\(word(&random))-\(word(&random))"
        }
        warningTags = tags(200) { random in
            "en:environmental-score-origins-of-\(word(&random))-\(word(&random))-are-100-percent-unknown"
        }
        infoTags = tags(60) { random in
            "en:\(["packaging-data-incomplete", "food-groups-1-known", "food-groups-2-unknown"][random.index(3)])-"
                + word(&random)
        }
        popularityTags = tags(400) { random in
            let top = [75, 80, 85, 90, 1000, 5000, 10_000, 50_000, 100_000][random.index(9)]
            let country = ["gb", "fr", "us", "es", "de", "it", "world", "ch", "be"][random.index(9)]
            return "top-\(top)-\(country)-scans-\(2019 + random.index(7))"
        }
        let states = [
            "nutrition-facts", "ingredients", "expiration-date", "packaging-code", "characteristics", "origins",
            "categories",
            "brands", "packaging", "quantity", "product-name", "photos-to-be-validated", "packaging-photo",
            "nutrition-photo", "ingredients-photo", "front-photo", "photos",
        ]
        statesDone = Tags(states.map { "en:\($0)-completed" })
        statesOpen = Tags(states.map { "en:\($0)-to-be-completed" })
        contributors = tags(500) { random in
            let number = String(random.next() & 0xFF_FFFF_FFFF, radix: 16)
            return "user-" + String(repeating: "0", count: 10 - number.count) + number
        }
        countries = Tags(
            [
                "united-states", "france", "spain", "germany", "italy", "united-kingdom", "world", "switzerland",
                "belgium",
            ]
            .map { "en:\($0)" })
        nutrientKeys = Self.nutrientList.map { Array(#"{"name":"\#($0.name)","value":"#.utf8) }
    }

    /// The brand of a rank (from 1), a different one for each.
    func brand(_ rank: Int) -> String {
        if rank <= brands.count { return brands[rank - 1] }
        let syllables = Self.syllables
        var number = rank
        var parts: [String] = []
        while number > 0 {
            parts.append(syllables[number % syllables.count])
            number /= syllables.count
        }
        return rank % 3 == 0 ? parts.joined(separator: "-") : parts.joined()
    }

    /// A category behind the head table, by rank.
    func category(_ rank: Int) -> String {
        let words = Self.wordList
        return "\(words[rank % words.count])-\(words[(rank / words.count + 7 * rank) % words.count])"
    }
}
