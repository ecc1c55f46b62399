-- The seven tables of pipelines/openfood.yaml, computed from the same pages by SQL alone.
--
-- Before: expected.pages(page jsonb) holds one answer of the API a row. After: expected.<table> for each table.

create or replace function expected.without_prefix(tag text) returns text
language sql immutable parallel safe
return regexp_replace(tag, '^[a-z]{2,3}:', '');

-- What the pipeline reads of each product.
create table expected.products as
select
    row ->> 'nutriscore_grade' as grade,
    row -> 'categories_tags' ->> 0 as category,
    row -> 'brands_tags' ->> 0 as brand,
    row -> 'packaging_tags' ->> 0 as packaging,
    row -> 'nova_groups_tags' ->> 0 as nova,
    case when jsonb_typeof(row -> 'additives_tags') = 'array' then row -> 'additives_tags' end as additives,
    (
        select name ->> 'text'
        from jsonb_array_elements(row -> 'product_name') with ordinality as names(name, position)
        where name ->> 'lang' = 'main'
        order by position
        limit 1
    ) as main_name,
    (
        select coalesce((nutriment ->> 'value')::float8, (nutriment ->> '100g')::float8)
        from jsonb_array_elements(case when jsonb_typeof(row -> 'nutriments') = 'array' then row -> 'nutriments' end)
            with ordinality as nutriments(nutriment, position)
        where nutriment ->> 'name' = 'sugars'
        order by position
        limit 1
    ) as sugar
from expected.pages, jsonb_path_query(page, '$.rows[*].row') as row;

create table expected.nutriscore_counts as
select
    case when lower(grade) in ('a', 'b', 'c', 'd', 'e') then upper(grade) else 'UNKNOWN' end as nutriscore,
    count(*) as product_count
from expected.products
where grade is not null
group by 1;

create table expected.category_counts as
select expected.without_prefix(category) as main_category, count(*) as category_count
from expected.products
where category is not null and category not in ('', 'undefined', 'null', 'en:undefined', 'en:null')
group by 1;

create table expected.brand_counts as
select expected.without_prefix(brand) as brand, count(*) as product_count
from expected.products
where brand is not null
group by 1;

create table expected.packaging_distribution as
select expected.without_prefix(packaging) as packaging, count(*) as packaging_count
from expected.products
where packaging is not null
group by 1;

create table expected.nova_group_classification as
select
    substring(nova from '[0-9]')::int as nova_group,
    expected.without_prefix(nova) as nova_label,
    count(*) as product_count
from expected.products
where nova is not null
group by 1, 2;

create table expected.top_additive_products as
with uses as (
    select main_name, expected.without_prefix(additive) as additive, count(*) as uses
    from expected.products, jsonb_array_elements_text(additives) as additive
    where main_name is not null and additive <> ''
    group by 1, 2
)
select
    main_name as product_name,
    sum(uses)::bigint as additive_count,
    (array_agg(additive order by uses desc, additive collate "C"))[1] as most_common_additive
from uses
group by main_name
order by additive_count desc, main_name collate "C"
limit 10;

create table expected.top_sugary_products_by_category as
select distinct on (main_category) main_category, product_name, sugar
from (
    select
        expected.without_prefix(lower(trim(category))) as main_category, main_name as product_name, sugar
    from expected.products
    where lower(trim(category)) not in ('', 'undefined', 'null', 'en:undefined', 'en:null')
        and main_name is not null and sugar is not null
) as candidates
order by main_category, sugar desc, product_name collate "C";
