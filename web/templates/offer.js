/** What the template browser says of the pack's workflows.
 *
 * A page learns of them as names of files, in whatever order a disk has them, and takes each name as
 * title and description, each picture as one that stands still. With index.json at hand it is told
 * in the form in which it is told of core's: in order, described, with pictures that move. Where
 * anything is other than expected, names and pictures are what they are without this.
 */

// Older pages search loosely and put what is found in the order of dates: without one, these would come
// after 186 of core's templates that are a little like "longtake".
const DATE = "2026-12-01";
const HERE = new URL(".", import.meta.url);

/** The name that ComfyUI knows the pack by: the folder that it lies in. */
function packName() {
    const [, name] = /\/extensions\/([^/]+)\//.exec(HERE.pathname) ?? [];
    return name && decodeURIComponent(name);
}

async function fetchGroups() {
    const response = await fetch(new URL("index.json", HERE));
    if (!response.ok) throw new Error(`index.json: ${response.status}`);
    return response.json();
}

/** A template as core's index has them; its name is that of its file. */
function described({ title, description, models = [] }, group) {
    const mediaSubtype = models.length ? "jpg" : "webp"; // what was not run here does not move
    const tags = [group];
    const picture = { mediaType: "image", mediaSubtype };
    return { name: title, title, description, ...picture, tags, models, date: DATE };
}

/** As core's index has categories. */
function categoryOf(groups, pack, listed) {
    const templates = groups
        .flatMap(({ group, templates }) => templates.map((one) => described(one, group)))
        .filter(({ name }) => listed.includes(name));
    return { moduleName: pack, title: "Longtake", type: "video", templates };
}

/** Has the page told of the pack's workflows, once each. */
export function offerTemplates(api) {
    const pack = packName();
    const { getWorkflowTemplates: getNames, getCoreWorkflowTemplates: getCategories } = api;
    if (!pack || !getNames || !getCategories) return;
    let category = null;

    api.getWorkflowTemplates = async function (...args) {
        const names = await getNames.apply(this, args);
        try {
            category = categoryOf(await fetchGroups(), pack, names[pack]);
            const told = category.templates.map(({ name }) => name);
            const rest = names[pack].filter((name) => !told.includes(name)).sort();
            const { [pack]: ours, ...others } = names;
            return rest.length ? { ...others, [pack]: rest } : others;
        } catch (error) {
            category = null;
            console.warn("Longtake's templates are listed by their files:", error);
            return names;
        }
    };
    api.getCoreWorkflowTemplates = async function (...args) {
        const categories = await getCategories.apply(this, args);
        return category && Array.isArray(categories) ? [...categories, category] : categories;
    };
}
