// A ferry across a tidal strait: passengers wait on piers, the current pushes, debris drifts, fuel runs out.

export interface Passenger {
    from: number;
    to: number;
    patience: number;
}

interface Debris {
    x: number;
    y: number;
    size: number;
}

const WIDTH = 15;
const HEIGHT = 9;
const CAPACITY = 4;
const QUEUE = 8;
const DRIFT = 10;
const TANK = 60;
const PIERS: ReadonlyArray<readonly [number, number]> = [
    [0, 1],
    [0, 7],
    [14, 4],
];

function clamp(value: number, low: number, high: number): number {
    return Math.min(Math.max(value, low), high);
}

function dice(n: number): number {
    return Math.floor(Math.random() * n);
}

export class Ferry {
    // 0 drift, 1 east, 2 west, 3 south, 4 north, 5 take aboard, 6 put ashore, 7 refuel
    readonly nActions = 8;

    x = 0;
    y = 0;
    tick = 0;
    fuel = TANK;
    hull = 5;
    carried = 0;
    left = 0;
    tide = 0;
    wind: "calm" | "east" | "west" = "calm";
    aboard: Passenger[] = [];
    waiting: Passenger[] = [];
    debris: Debris[] = [];
    refuelled = false;

    private readonly ticksMax: number;

    constructor(options: { ticksMax?: number } = {}) {
        this.ticksMax = options.ticksMax ?? 300;
    }

    reset(): number[] {
        this.x = 7;
        this.y = 4;
        this.tick = 0;
        this.fuel = TANK;
        this.hull = 5;
        this.carried = 0;
        this.left = 0;
        this.refuelled = false;
        this.tide = dice(24);
        this.wind = "calm";
        this.aboard = [];
        this.waiting = [];
        this.debris = [];
        const crowd = 2 + dice(3);
        for (let i = 0; i < crowd; i++) {
            this.arrive();
        }
        for (let i = 0; i < 3; i++) {
            this.debris.push({ x: 2 + dice(WIDTH - 4), y: dice(HEIGHT), size: 1 + dice(3) });
        }
        return this.observe();
    }

    step(action: number) {
        let reward = -0.01;
        switch (action) {
            case 1:
            case 2:
            case 3:
            case 4:
                reward += this.sail(action);
                break;
            case 5:
                reward += this.board();
                break;
            case 6:
                reward += this.land();
                break;
            case 7:
                reward += this.refuel();
                break;
            default:
                break;
        }
        this.flow(action >= 5);
        reward -= this.drift();
        this.lose();
        if (this.waiting.length < QUEUE && Math.random() < 0.12) {
            this.arrive();
        }
        this.tick += 1;
        const terminated = this.hull <= 0 || this.left >= 12;
        if (this.hull <= 0) {
            reward -= 3;
        }
        return { observation: this.observe(), reward, terminated, truncated: this.tick >= this.ticksMax };
    }

    /** Rain checks of who may do what: at a pier one can board, land, refuel. */
    actionMasks(): boolean[] {
        const pier = this.pier();
        const engine = this.fuel > 0;
        return [
            true,
            engine,
            engine,
            engine,
            engine,
            pier >= 0 && this.aboard.length < CAPACITY && this.waiting.some((who) => who.from === pier),
            pier >= 0 && this.aboard.some((who) => who.to === pier),
            pier === 2 && this.fuel < TANK,
        ];
    }

    private pier(): number {
        return PIERS.findIndex(([x, y]) => x === this.x && y === this.y);
    }

    private sail(action: number): number {
        if (this.fuel <= 0) {
            return -0.05;
        }
        const [dx, dy] = [
            [1, 0],
            [-1, 0],
            [0, 1],
            [0, -1],
        ][action - 1];
        // Against the wind the engine needs twice as much.
        const against = (this.wind === "east" && dx < 0) || (this.wind === "west" && dx > 0);
        this.fuel = Math.max(this.fuel - (against ? 2 : 1), 0);
        const x = clamp(this.x + dx, 0, WIDTH - 1);
        const y = clamp(this.y + dy, 0, HEIGHT - 1);
        if (x === this.x && y === this.y) {
            return -0.05;
        }
        this.x = x;
        this.y = y;
        return 0;
    }

    private board(): number {
        const pier = this.pier();
        if (pier < 0) {
            return -0.05;
        }
        // The most impatient one goes first; of equals the one who came first.
        let best = -1;
        this.waiting.forEach((who, at) => {
            if (who.from === pier && (best < 0 || who.patience < this.waiting[best].patience)) {
                best = at;
            }
        });
        if (best < 0 || this.aboard.length >= CAPACITY) {
            return -0.05;
        }
        const [who] = this.waiting.splice(best, 1);
        this.aboard.unshift(who);
        return 0.1;
    }

    private land(): number {
        const pier = this.pier();
        const leaving = this.aboard.filter((who) => who.to === pier);
        if (pier < 0 || leaving.length === 0) {
            return -0.05;
        }
        this.aboard = this.aboard.filter((who) => who.to !== pier);
        this.carried += leaving.length;
        return leaving.reduce((sum, who) => sum + 1 + who.patience / 80, 0);
    }

    private refuel(): number {
        if (this.pier() !== 2 || this.fuel >= TANK) {
            return -0.05;
        }
        this.refuelled = true;
        const price = (TANK - this.fuel) * 0.004;
        this.fuel = Math.min(this.fuel + 20, TANK);
        return -price;
    }

    /** Tide and wind; a moored ferry is not pushed. */
    private flow(moored: boolean): void {
        this.tide = (this.tide + 1) % 24;
        if (Math.random() < 0.08) {
            this.wind = (["calm", "east", "west"] as const)[dice(3)];
        }
        if (moored || this.pier() >= 0) {
            return;
        }
        const strength = Math.sin((this.tide / 24) * 2 * Math.PI);
        if (Math.random() < 0.5 * Math.abs(strength)) {
            this.y = clamp(this.y + (strength > 0 ? 1 : -1), 0, HEIGHT - 1);
        }
    }

    /** Moves what drifts; returns the damage to be charged. */
    private drift(): number {
        let damage = 0;
        for (const piece of this.debris) {
            piece.y += this.tide < 12 ? 1 : -1;
            if (this.wind !== "calm" && Math.random() < 0.3) {
                piece.x += this.wind === "east" ? 1 : -1;
            }
        }
        this.debris = this.debris.filter((piece) => {
            if (piece.x === this.x && piece.y === this.y) {
                this.hull -= piece.size;
                damage += 0.2 * piece.size;
                return false;
            }
            return piece.y >= 0 && piece.y < HEIGHT && piece.x >= 0 && piece.x < WIDTH;
        });
        if (this.debris.length < DRIFT && Math.random() < 0.25) {
            const y = this.tide < 12 ? 0 : HEIGHT - 1;
            this.debris.push({ x: 1 + dice(WIDTH - 2), y, size: Math.random() < 0.2 ? 3 : 1 + dice(2) });
        }
        return damage;
    }

    private lose(): void {
        for (const who of this.waiting) {
            who.patience -= 1;
        }
        const before = this.waiting.length;
        this.waiting = this.waiting.filter((who) => who.patience > 0);
        this.left += before - this.waiting.length;
    }

    private arrive(): void {
        const from = dice(3);
        const to = (from + 1 + dice(2)) % 3;
        this.waiting.push({ from, to, patience: 40 + dice(40) });
    }

    private observe(): number[] {
        const queues = PIERS.map((_, pier) => this.waiting.filter((who) => who.from === pier).length / QUEUE);
        const bound = PIERS.map((_, pier) => this.aboard.filter((who) => who.to === pier).length / CAPACITY);
        const near = this.debris
            .map((piece) => Math.hypot(piece.x - this.x, piece.y - this.y))
            .sort((a, b) => a - b);
        return [
            this.x / WIDTH,
            this.y / HEIGHT,
            this.fuel / TANK,
            this.hull / 5,
            this.tide / 24,
            this.wind === "calm" ? 0 : this.wind === "east" ? 1 : -1,
            ...queues,
            ...bound,
            near[0] ?? -1,
            near[1] ?? -1,
        ];
    }
}
