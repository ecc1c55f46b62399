/// The columns of the split `food`, in the order in which every row has them.
enum ProductSchema {
    /// The types that occur, by their description in `features`.
    enum ColumnType {
        case bool, int32, int64, float32, string, strings, texts
        case categoryCodes, images, nutriments, ownerFields, packagings

        /// The `type` of a feature, compact JSON.
        var json: String {
            func value(_ name: String) -> String { #"{"dtype":"\#(name)","_type":"Value"}"# }
            func structure(_ fields: [(String, String)]) -> String {
                "{" + fields.map { #""\#($0.0)":\#($0.1)"# }.joined(separator: ",") + "}"
            }
            func list(_ element: String) -> String { #"{"feature":\#(element),"_type":"List"}"# }
            let text = value("string")
            let int = value("int32")
            let float = value("float32")
            switch self {
            case .bool: return value("bool")
            case .int32: return int
            case .int64: return value("int64")
            case .float32: return float
            case .string: return text
            case .strings: return list(text)
            case .texts: return list(structure([("lang", text), ("text", text)]))
            case .categoryCodes:
                return structure([
                    ("ciqual_food_code", int), ("agribalyse_food_code", int), ("agribalyse_proxy_food_code", int),
                ])
            case .images:
                let size = structure([("h", int), ("w", int)])
                return list(
                    structure([
                        ("key", text), ("imgid", int), ("rev", int),
                        ("sizes", structure([("100", size), ("200", size), ("400", size), ("full", size)])),
                        ("uploaded_t", value("int64")), ("uploader", text),
                    ]))
            case .nutriments:
                return list(
                    structure([
                        ("name", text), ("value", float), ("100g", float), ("serving", float), ("unit", text),
                        ("prepared_value", float), ("prepared_100g", float), ("prepared_serving", float),
                        ("prepared_unit", text),
                    ]))
            case .ownerFields: return list(structure([("field_name", text), ("timestamp", value("int64"))]))
            case .packagings:
                return list(
                    structure([
                        ("material", text), ("number_of_units", value("int64")), ("quantity_per_unit", text),
                        ("quantity_per_unit_unit", text), ("quantity_per_unit_value", text), ("recycling", text),
                        ("shape", text), ("weight_measured", float),
                    ]))
            }
        }
    }

    /// `{"features":[…],"rows":[`, as every answer begins.
    static let head: [UInt8] = {
        let features = columns.enumerated().map { index, column in
            #"{"feature_idx":\#(index),"name":"\#(column.name)","type":\#(column.type.json)}"#
        }
        return Array(#"{"features":[\#(features.joined(separator: ","))],"rows":["#.utf8)
    }()

    static let columns: [(name: String, type: ColumnType)] = [
        ("additives_n", .int32),
        ("additives_tags", .strings),
        ("allergens_tags", .strings),
        ("brands_tags", .strings),
        ("brands", .string),
        ("categories", .string),
        ("categories_tags", .strings),
        ("categories_properties", .categoryCodes),
        ("checkers_tags", .strings),
        ("ciqual_food_name_tags", .strings),
        ("cities_tags", .strings),
        ("code", .string),
        ("compared_to_category", .string),
        ("complete", .int32),
        ("completeness", .float32),
        ("correctors_tags", .strings),
        ("countries_tags", .strings),
        ("created_t", .int64),
        ("creator", .string),
        ("data_quality_errors_tags", .strings),
        ("data_quality_info_tags", .strings),
        ("data_quality_warnings_tags", .strings),
        ("data_sources_tags", .strings),
        ("environmental_score_data", .string),
        ("environmental_score_grade", .string),
        ("environmental_score_score", .int32),
        ("environmental_score_tags", .strings),
        ("editors", .strings),
        ("emb_codes_tags", .strings),
        ("emb_codes", .string),
        ("entry_dates_tags", .strings),
        ("food_groups_tags", .strings),
        ("generic_name", .texts),
        ("images", .images),
        ("informers_tags", .strings),
        ("ingredients_analysis_tags", .strings),
        ("ingredients_from_palm_oil_n", .int32),
        ("ingredients_n", .int32),
        ("ingredients_original_tags", .strings),
        ("ingredients_percent_analysis", .int32),
        ("ingredients_tags", .strings),
        ("ingredients_text", .texts),
        ("ingredients_with_specified_percent_n", .int32),
        ("ingredients_with_unspecified_percent_n", .int32),
        ("ingredients_without_ciqual_codes_n", .int32),
        ("ingredients_without_ciqual_codes", .strings),
        ("ingredients", .string),
        ("known_ingredients_n", .int32),
        ("labels_tags", .strings),
        ("labels", .string),
        ("lang", .string),
        ("languages_tags", .strings),
        ("last_edit_dates_tags", .strings),
        ("last_editor", .string),
        ("last_image_t", .int64),
        ("last_modified_by", .string),
        ("last_modified_t", .int64),
        ("last_updated_t", .int64),
        ("link", .string),
        ("main_countries_tags", .strings),
        ("manufacturing_places_tags", .strings),
        ("manufacturing_places", .string),
        ("max_imgid", .int32),
        ("minerals_tags", .strings),
        ("misc_tags", .strings),
        ("new_additives_n", .int32),
        ("no_nutrition_data", .bool),
        ("nova_group", .int32),
        ("nova_groups_tags", .strings),
        ("nova_groups", .string),
        ("nucleotides_tags", .strings),
        ("nutrient_levels_tags", .strings),
        ("nutriments", .nutriments),
        ("nutriscore_grade", .string),
        ("nutriscore_score", .int32),
        ("nutrition_data_per", .string),
        ("obsolete", .bool),
        ("origins_tags", .strings),
        ("origins", .string),
        ("owner_fields", .ownerFields),
        ("owner", .string),
        ("packagings_complete", .bool),
        ("packaging_recycling_tags", .strings),
        ("packaging_shapes_tags", .strings),
        ("packaging_tags", .strings),
        ("packaging_text", .texts),
        ("packaging", .string),
        ("packagings", .packagings),
        ("photographers", .strings),
        ("popularity_key", .int64),
        ("popularity_tags", .strings),
        ("product_name", .texts),
        ("product_quantity_unit", .string),
        ("product_quantity", .string),
        ("purchase_places_tags", .strings),
        ("quantity", .string),
        ("rev", .int32),
        ("scans_n", .int32),
        ("serving_quantity", .string),
        ("serving_size", .string),
        ("states_tags", .strings),
        ("stores_tags", .strings),
        ("stores", .string),
        ("traces_tags", .strings),
        ("unique_scans_n", .int32),
        ("unknown_ingredients_n", .int32),
        ("unknown_nutrients_tags", .strings),
        ("vitamins_tags", .strings),
        ("with_non_nutritive_sweeteners", .int32),
        ("with_sweeteners", .int32),
        ("schema_version", .int32),
    ]
}
